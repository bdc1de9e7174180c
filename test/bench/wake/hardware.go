package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// hardware says what the numbers were measured on.
type hardware struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Systemd string `json:"systemd"`
	// LoadBefore and LoadAfter are the load averages of a minute (proc_loadavg(5)).
	// The benchmark itself makes about 1; what is above that was others.
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

func (h hardware) String() string {
	return fmt.Sprintf("%d cores of %s, load average %s before and %s after\nLinux %s, systemd %s",
		h.Cores, h.CPU, h.LoadBefore, h.LoadAfter, h.Kernel, h.Systemd)
}

func describeMachine(ctx context.Context) (hardware, error) {
	h := hardware{CPU: runtime.GOARCH, Cores: runtime.NumCPU()}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return hardware{}, err
	}
	for line := range strings.Lines(string(cpuinfo)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			h.CPU = strings.TrimSpace(value)
			break
		}
	}
	if h.LoadBefore, err = loadAverage(); err != nil {
		return hardware{}, err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return hardware{}, err
	}
	h.Kernel = unix.ByteSliceToString(name.Release[:])
	out, err := exec.CommandContext(ctx, "systemctl", "--version").Output()
	if err != nil {
		return hardware{}, fmt.Errorf("systemctl --version: %w", err)
	}
	if fields := strings.Fields(string(out)); len(fields) >= 2 {
		h.Systemd = fields[1]
	}
	return h, nil
}

func loadAverage() (string, error) {
	text, err := os.ReadFile("/proc/loadavg")
	minute, _, _ := strings.Cut(string(text), " ")
	return minute, err
}
