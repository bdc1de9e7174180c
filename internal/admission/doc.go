// Package admission decides who may start and who may wait. A Gate gives places to
// starts, of which a machine stands only a few at a time; a Hall bounds the requests
// that are held meanwhile.
//
// Rules of the Gate:
//
//   - At most so many starts have a place. One that takes long while the processors
//     have nothing to do, or very long, gives its place back and goes on: apps that hang
//     do not keep others from starting.
//   - Commands go before people and people before machines, but every fourth place is
//     for who has waited longest: nobody waits for ever.
//   - Within a class services take turns, so that the storm of one does not shut out
//     another; within a service the first to come is the first to start.
//   - While memory is short nobody is let in. Who has waited too long is told so.
//
// The Gate decides in Run alone. Its methods never block, and may be called with locks
// held; what it asks of the machine it asks without a lock.
package admission
