package units

import (
	"fmt"
	"path/filepath"

	"tenement.dev/internal/tenant"
)

// ProbeName is the service that finds out what takes effect on a machine: the n-th that
// the process pid starts.
func ProbeName(pid, n int) string { return fmt.Sprintf("tenement-probe-%d-%d.service", pid, n) }

// ProbeSpec is the instance that ProbeUnit runs under an isolation level.
func (h Host) ProbeSpec(id tenant.ID, isolation tenant.Isolation) tenant.Spec {
	return tenant.Spec{
		ID:        id,
		Argv:      []string{h.InitPath, "--probe"},
		DataDir:   filepath.Join(h.RuntimeDir, "probe"),
		DataRoot:  h.DataRoot,
		WorkDir:   "/",
		Isolation: isolation,
	}
}

// ProbeUnit is a service with the sandbox of an instance that runs `ten-init
// --probe` once, with args, and writes what it finds, or what went wrong, to the file
// output. It has the optional properties that h says the machine has.
func (h Host) ProbeUnit(spec tenant.Spec, name, account, output string, args ...string) Unit {
	argv := append([]string{"ten-init", "--probe"}, args...)
	if spec.Isolation == tenant.IsolationSandbox {
		argv = []string{"ten-init", "--probe-sandbox", "-listen", "port:1", "-runsc", h.Runsc, "-bundle", h.BundleDir(spec.ID)}
	}
	props := []Property{
		{"Description", "Tenement probe"},
		{"CollectMode", "inactive-or-failed"},
		{"Type", "oneshot"},
		{"ExecStartEx", []Exec{{Path: h.InitPath, Argv: argv, Options: []string{"no-env-expand"}}}},
		{"TimeoutStartUSec", usec(slack)},
		{"StandardOutputFileToTruncate", output},
		{"StandardError", "inherit"},
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
