package dashboard

import (
	"os"
	"testing"

	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
