package main

import "strings"

// ownVariables are what systemd tells ten-init about itself and would mislead the
// app (systemd.exec(5), "Environment Variables in Spawned Processes").
var ownVariables = map[string]bool{
	"LISTEN_PID":            true,
	"LISTEN_PIDFDID":        true,
	"LISTEN_FDS":            true,
	"LISTEN_FDNAMES":        true,
	"NOTIFY_SOCKET":         true,
	"WATCHDOG_PID":          true,
	"WATCHDOG_USEC":         true,
	"MAINPID":               true,
	"MANAGERPID":            true,
	"MANAGERPIDFDID":        true,
	"SYSTEMD_EXEC_PID":      true,
	"MEMORY_PRESSURE_WATCH": true,
	"MEMORY_PRESSURE_WRITE": true,
}

// appEnviron is environ without ten-init's own variables.
func appEnviron(environ []string) []string {
	out := make([]string, 0, len(environ))
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !ownVariables[name] {
			out = append(out, entry)
		}
	}
	return out
}
