package journal

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"tenement.dev/test/machine"
)

// TestMain runs the tests in a machine, where there is a journal to read. Fuzzing needs
// none. The test binary is also what the tests run as another process.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		roles[role]()
		return
	}
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run())
	}
	code := machine.Main(m)
	if err := goleak.Find(); machine.Inside() && code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
