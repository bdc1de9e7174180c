// Package limits checks what only a kernel with all cgroup controllers can enforce:
// memory, processor and task limits, and dozing into swap. Each test runs `ten serve`
// inside the virtual machine.
package limits

import (
	"os"
	"testing"

	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.MainVM(m)) }
