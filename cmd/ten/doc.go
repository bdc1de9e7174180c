// Command ten is Tenement: the daemon (`ten serve`) and what talks to it.
//
// # Invariants
//
//   - Every command is a thin skin over a function that a test can call; run is the
//     whole program but for the process around it.
//   - stdout has what was asked for. What goes wrong is on stderr: a line "ten: what"
//     and a line "hint: what to do". The exit codes are in `ten --help`.
//   - Nothing that a tenant can choose reaches a terminal with its control characters.
//   - serve.go alone knows all parts of the daemon.
package main
