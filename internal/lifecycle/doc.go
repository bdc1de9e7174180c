// Package lifecycle decides when an instance runs. Its Manager wakes instances for
// requests, dozes and stops idle ones, and keeps what it believes true by comparing
// it with what the service manager says.
//
// Invariants:
//
//   - Each instance has one mutex, under which its state is decided and requests are
//     counted in. Work (waking, dozing, stopping, unloading) is an operation: it is
//     registered under the mutex, runs outside it on the Manager's own context, and
//     at most one runs per instance at a time. Who needs another state waits for the
//     operation to end and looks again.
//   - A request is counted in before anything is awaited and out exactly once, so an
//     instance that has one never dozes or stops by itself: lost requests at the idle
//     boundary are impossible by construction.
//   - A wake belongs to the instance. It goes on when the client that caused it
//     leaves, and its failure reaches everybody who waits.
//   - Limits are brought in line, not set step by step: what the loaded unit is known to
//     have is compared with what it should have, after each change, wake, sleep and
//     adoption. So a wake's boost ends also where the daemon did before it.
//   - An instance whose measured data exceeds its limit does not start, which no brake
//     counts as a failure.
//   - What the service manager signals are hints. A hint that contradicts the state
//     is followed by a look at the truth, and the answer counts only if the instance
//     did not change in between (its generation).
//
// Lock order: instance.mu before Manager.mu; neither is held over I/O, log lines apart.
package lifecycle
