// Package rollout gives the instances of a service another release, step by step, and takes
// it back from them where it does no good. Its Engine does so against the lifecycle's
// Manager, which knows what to do with one instance.
//
// Invariants:
//
//   - What a rollout has got to is read from the instances each time: who has which release,
//     and runs with which. What is kept of itself is what was asked for, and its state. So a
//     daemon that is killed goes on where it was: whose step was begun is restarted once more,
//     and those that were changed last are watched once more.
//   - There is one rollout per service at a time, with a goroutine of its own; people change its
//     state, and it looks at that between its steps. The instances that are being changed
//     are always seen to their end first.
//   - Without a canary sleeping instances have their release at once; with one they wait
//     until the canary is well. One that is created meanwhile begins with the release before,
//     and is changed like the others.
//   - While a rollout goes on its instances are on trial: one that does not start with its
//     release is started with the one before within the same wake, so nobody waits in vain,
//     and the rollout goes back.
//   - A service's release, which new instances get, changes when all instances have it.
//   - Going back needs nobody's consent and stops at nothing: who does not start even with
//     the release before is told of, and left to its restart policy.
//
// Lock order: Engine.beginning and job.changing, which are held over the registry's write by
// design, before Engine.mu, job.mu and Meter.mu, none of which is held over I/O.
package rollout
