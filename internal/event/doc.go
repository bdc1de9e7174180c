// Package event tells whoever wants to know what happens: states, wakes, stops, health,
// restarts, limits, weights, host names, tokens, reloads, and who asked for what.
//
// Invariants:
//
//   - Publish never waits for anybody: the one who decides the state of an instance calls
//     it under that instance's lock. Bus.mu is the innermost lock of all.
//   - The Bus keeps the latest events, and nothing per follower but its place among them. A
//     follower that is too slow, or comes back too late, has a gap, and is told so.
//   - Within one life of the Bus events have the numbers 1, 2, 3 …; an ID also says which
//     life that was, so that a number of another daemon is not taken for one of this.
//   - An Event that was published is never changed.
package event
