// Package dbusctl is a small typed client of systemd's manager, the system's or a
// user's (org.freedesktop.systemd1(5)). It creates transient units, starts and stops
// them, waits for the jobs, reads states and properties, and passes on what the
// manager says about units of one name prefix.
//
// It is the only package that knows D-Bus.
//
// # Invariants
//
//   - A Client has one connection of its own. It lives as long as the context of Run;
//     the context of a call bounds that call and nothing else.
//   - No lock is held over a call: calls run in parallel, at most maxCalls at once,
//     which stays below what a bus allows one connection.
//   - A job's end is never missed for good. The signal is subscribed to before the
//     job exists; ends that nobody waits for yet are remembered; and a waiter that
//     hears nothing, or learns that the manager was reloaded, asks (see jobs).
//   - Every wait ends with its context, and with ErrDisconnected when the connection
//     is lost under it.
//   - Signals are believed only from the owner of the manager's bus name: any program
//     on a bus may send a signal to any other.
//   - Events are hints. Intermediate states may be missing; the latest one never is,
//     and where something may have been missed the event says so.
//
// # Signals
//
// godbus hands signals to channels either out of order or through an unbounded queue.
// Neither is used: link is the connection's dbus.SignalHandler, and godbus calls it
// from the goroutine that reads the connection. So signals are handled in the order of
// the wire, also relative to replies: when a call has returned, every signal that was
// sent before its reply has been handled, which is what tells a lost end of a job from
// one that is still to come. The handler only notes things down under short locks; it
// never blocks and never calls the bus.
package dbusctl
