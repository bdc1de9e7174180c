// Package harness runs `ten serve` for tests and benchmarks, inside the throwaway
// machine, and looks at it as its users do: through the CLI, HTTP and systemctl. Whatever it
// waits for has a bound, and so has each test: one that hangs is named, with what the daemon's
// goroutines and the machine's processes are at.
package harness
