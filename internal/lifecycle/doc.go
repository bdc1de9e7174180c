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
//   - What keeps an instance awake is one list, the holds, made under its mutex: the
//     idle check, whoever wants memory back and Why go by the same one.
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
//   - An instance whose app ends by itself is started again as its service's restart
//     policy says. Failures are counted within a window, over sleep and daemons; who has
//     too many is failed until somebody asks for it.
//   - A health check is no activity, and neither wakes nor thaws anything: a doze or a
//     stop waits for the one that runs, and there is none until it is over.
//   - A stop lets those end whom the process serves, for stop_grace; new requests wait
//     for the next process.
//
// Lock order: lease.mu, instance.mu, Manager.mu; none is held over I/O. Lines are logged
// under them, so a logger must not wait for its reader.
package lifecycle
