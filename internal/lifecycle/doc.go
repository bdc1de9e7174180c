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
//
//   - A request is counted in before anything is awaited and out exactly once, so an
//     instance that has one never dozes or stops for idleness or for want of memory: lost
//     requests at the idle boundary are impossible by construction. What does stop an
//     instance that has some are operators, data over its limit and a restart for bad
//     health, each after a drain.
//
//   - What keeps an instance awake is one list, the holds, made under its mutex: the
//     idle check, whoever wants memory back and Why go by the same one.
//
//   - A wake belongs to the instance. Once it has begun it goes on when the client that
//     caused it leaves, and its failure reaches everybody who waits. A cold start begins
//     when the gate (package admission) gives it a place; until then it is withdrawn when
//     nobody waits for it any more, gives way to who wants the instance down, and leaves
//     everything as it was: state, brake, revival, doorbell.
//
//   - Requests that wait for a wake are in the hall, which bounds their number; the pacer
//     lets them go to the app that has woken as fast as it answers.
//
//   - When memory is short the gate lets nobody in, and relief takes memory back step by
//     step from those whom nothing holds.
//
//   - A host name that is pending is nobody's: it is kept apart from those that are served.
//
//   - A paused instance is started for no request, no schedule and no failure; only an
//     operator's command starts it. Requests that were counted in before go on.
//
//   - A scheduled run is a request that the Manager makes itself.
//
//   - Limits are brought in line, not set step by step: what the loaded unit is known to
//     have is compared with what it should have, after each change, wake, sleep and
//     adoption. So a wake's boost ends also where the daemon did before it.
//
//   - An armed instance sleeps, though its unit runs: only the app is missing, and its end is
//     no failure. It is believed to be so where a mark says that a daemon has armed it, and
//     nobody has wanted its app since: the mark comes after the arming and goes before the wake.
//
//   - An instance whose measured data exceeds its limit does not start, which no brake
//     counts as a failure.
//
//   - What an instance has used is counted for the process that used it: its CPU time is
//     what that process has, less what is saved of it, also by an earlier daemon.
//
//   - What the service manager signals are hints. A hint that contradicts the state
//     is followed by a look at the truth, and the answer counts only if the instance
//     did not change in between (its generation).
//
//   - An instance whose app ends by itself is started again as its service's restart
//     policy says. Failures are counted within a window, over sleep and daemons; who has
//     too many is failed until somebody asks for it. Who notices an end may not know whether
//     it was one, and waits for the hint that tells; where none does, it was.
//
//   - An instance on trial with a release whose start with it fails is started with the one
//     before within the same wake: who waits for it does not notice.
//
//   - A health check is no activity, and neither wakes nor thaws anything: a doze or a
//     stop waits for the one that runs, and there is none until it is over.
//
//   - A stop lets those end whom the process serves, for stop_grace; new requests wait
//     for the next process.
//
//   - Data is copied while its app is frozen, or its units are not loaded: nobody writes.
//     Requests wait for that as for any operation. What takes the place of data was checked
//     before, and does so at once, while the units are not loaded.
//
// Lock order: lease.mu, instance.mu, Manager.mu; none is held over I/O. Two others are, by
// design, and come before all of these: Manager.weighing over the registry's write of
// weights, and an instance's limits.changing over the change of its unit; Manager.pausing is held
// over the registry's write of a pause, with nothing else, Manager.hiding over that of a secret and the
// keeping of its value, with nothing else, Manager.naming over that of a host
// name, before Manager.mu, and Manager.savingUse over that of what
// was used, before instance.mu and Manager.mu. Lines are logged
// under the mutexes, so a logger must not wait for its reader.
//
// Where to find what:
//
//	manager.go     the Manager: its options, its configuration, its loop
//	registered.go  who is registered, and who comes and goes
//	unsaved.go     what has changed, and its saving
//	instance.go    what is known of one instance, and its operations
//	rare.go        parts that most instances never need, and times that are only told
//	controller.go  what is needed of the service manager, the doorbells and the registry
//	acquire.go     a request's way in and out: the lease
//	ready.go       the way in for a request that need not wait
//	admit.go       the place of a cold start, and the answers where there is none
//	pace.go        the pacer, for the requests that waited
//	dial.go        connections to the process that a request was admitted to
//	drain.go       who is served by the present process, and how that comes to its end
//	unwoken.go     requests that wake nothing
//	wake.go        wakes: thaw, cold start, what a failure is called
//	load.go        units that are loaded and unloaded, and ports
//	watch.go       units that fail while they are woken
//	health.go      the health that a wake waits for
//	probe.go       the checks of those that are awake
//	line.go        the connection of these checks
//	idle.go        dozing and stopping who is idle
//	doze.go        dozing on demand
//	hold.go        what keeps an instance awake
//	keepawake.go   leases of apps and operators
//	cpu.go         work without a request
//	sleepers.go    whose doorbell stays while it sleeps
//	armed.go       sleepers whose ten-init waits with the app: how they become and end so
//	arm.go         which sleepers that are, and when
//	end.go         how an app ended that nobody stopped
//	restart.go     what follows then
//	brake.go       failures, and the waits after them
//	exit.go        ends of units in words
//	reconcile.go   adopting what runs; hints, and the truth
//	before.go      what an earlier daemon has left: since when, and how idle
//	operate.go     what operators ask for: spawn, wake, stop, restart, destroy
//	why.go         why an instance is in its state
//	release.go     releases of instances, and the way back from a bad one
//	limits.go      limits, and the boost of a wake
//	storage.go     the size of data
//	relief.go      memory that is given back
//	pause.go       maintenance: requests are answered without the instance
//	secret.go      secrets, whose values the keeper has
//	schedule.go    when scheduled runs are due
//	cron.go        the runs themselves
//	backup.go      copies of data
//	restore.go     data that comes back, and instances that come from elsewhere
//	route.go       weights, and the choice by them
//	deploy.go      a version beside the old one
//	domain.go      host names of instances
//	claim.go       those whose owner is to show first that they are his
//	observe.go     what is counted
//	use.go         what instances have used, for who bills them
//	loop.go        work for the loop, and whether that is alive
//	tell.go        what others are told of: the events
//	tasks.go       goroutines that are waited for
package lifecycle
