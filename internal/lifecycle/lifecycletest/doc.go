// Package lifecycletest has what tests of package lifecycle need: Systemd, an
// in-memory service manager with the doorbells and apps of its instances, and
// Conform, a suite that holds Systemd and the real service manager to the same
// semantics, so that the fake cannot lie.
//
// Invariants of Systemd:
//
//   - It does no I/O and measures time with package time only: inside a
//     testing/synctest bubble the bubble's clock is its clock.
//   - An instance has at most one run at a time, and each run is counted.
//   - A ring is never lost: it waits in the doorbell's backlog until a run takes it,
//     and starts one where none runs, also when its caller has left.
package lifecycletest
