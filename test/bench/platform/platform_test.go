package platform

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestPlatform(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	if cpu := CPU(); cpu == "" || strings.Contains(string(info), "model name") && !strings.Contains(string(info), ": "+cpu+"\n") {
		t.Errorf("CPU: got %q, which /proc/cpuinfo has not", cpu)
	}
	version, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Kernel(), strings.TrimSpace(string(version)); got != want {
		t.Errorf("Kernel: got %q, want %q", got, want)
	}
	if load, err := strconv.ParseFloat(Load(), 64); err != nil || load < 0 {
		t.Errorf("Load: got %q", Load())
	}
}
