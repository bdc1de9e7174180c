// Package integration checks what users see of Tenement, on a real systemd: each test
// runs `ten serve` inside the throwaway machine and uses it through HTTP, the CLI and
// systemctl.
package integration

import (
	"os"
	"testing"

	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
