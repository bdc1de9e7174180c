// Package harness runs `ten serve` for tests and benchmarks, inside the throwaway
// machine, and looks at it as its users do: through the CLI, HTTP and systemctl.
package harness
