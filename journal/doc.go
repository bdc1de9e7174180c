// Package journal reads, follows and searches what instances print, in systemd's journal,
// and puts what Tenement does into it (Events, Entries). To read, it runs journalctl -o json as a
// child: the stable interface to the journal that needs neither cgo nor libsystemd.
//
// # Which entries
//
// Those that journalctl -u shows for a unit, in the same order: what the unit's own
// processes wrote (stdout, stderr, syslog, native), and what the service manager says
// about the unit. The manager's lines are in because they alone explain a log that stops
// in the middle: "Main process exited, code=killed, status=9/KILL", "Failed with result
// 'oom-kill'", "Failed to execute …". They are marked (Entry.Manager) for callers that
// want the app's own output only.
//
// # Searching
//
// The unit is matched first, by the journal's index, so that what others print costs
// nothing. Of a text or an expression journalctl gets what sorts out most of the rest
// (Query.sieve), and each entry that comes is looked at again here. The newest are read
// first, until there are enough. In a journal of 0.8 GB and 1,000 tenants a word of the
// last 7 days takes 10 to 40 ms, 70 ms where it is not there (make bench-logs), so there
// is no index of our own.
//
// # Invariants
//
//   - Only fields that journald itself adds decide whose entry it is. A UNIT= or
//     USER_UNIT= counts where the manager's own cgroup wrote it and nowhere else: an app
//     that claims to speak for another unit stays in its own log. One exception, with
//     Query.Identifier in the User scope: there all units have one uid, and a line of a
//     process that is gone already is believed by its identifier.
//   - Whatever a tenant prints, an Entry is valid UTF-8 and its Message at most
//     MaxMessage bytes and a marker. Memory does not grow with the length of a line.
//   - A Message may hold control characters. Who prints it to a terminal removes them.
//   - When the iteration ends, by itself, by break or by the end of its context, the
//     child has ended and is reaped, and no goroutine is left.
//   - Events never make anybody wait: they are sent by one goroutine, which a journald
//     that hangs holds up for a second at most. An event is in the journal or in the log,
//     and where the log is not the journal it may be in both; never twice in one.
//   - Of events that are read back none comes from an instance.
//   - A follower that loses its child carries on after the last entry it gave: nothing
//     twice, nothing left out.
package journal
