package units

import (
	"fmt"
	"path/filepath"

	"tenement.dev/internal/tenant"
)

// ProbeName is the service that finds out what takes effect on a machine: the n-th that
// the process pid starts.
func ProbeName(pid, n int) string { return fmt.Sprintf("tenement-probe-%d-%d.service", pid, n) }

// ProbeUnit is a service with the sandbox of an instance that runs `ten-init
// --probe` once and writes what it finds to the file output. It has the optional
// properties that h says the machine has.
func (h Host) ProbeUnit(name, account, output string) Unit {
	dir := filepath.Join(h.RuntimeDir, "probe")
	spec := tenant.Spec{
		DataDir:  dir,
		DataRoot: h.DataRoot,
		WorkDir:  "/",
	}
	props := []Property{
		{"Description", "Tenement probe"},
		{"CollectMode", "inactive-or-failed"},
		{"Type", "oneshot"},
		{"ExecStartEx", []Exec{{Path: h.InitPath, Argv: []string{"ten-init", "--probe"}, Options: []string{"no-env-expand"}}}},
		{"TimeoutStartUSec", usec(slack)},
		{"StandardOutputFileToTruncate", output},
		{"Delegate", true},
	}
	if h.DelegateSubgroup {
		props = append(props, Property{"DelegateSubgroup", "app"})
	}
	if account != "" {
		props = append(props, Property{"User", account})
	}
	if h.PrivateNetwork {
		props = append(props, Property{"PrivateNetwork", true})
	}
	return Unit{Name: name, Properties: append(props, h.sandbox(spec)...)}
}
