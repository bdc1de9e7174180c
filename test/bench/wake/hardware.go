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
	// Load is the load average of the minute before (proc_loadavg(5)): what others did.
	Load string `json:"load"`
}

func (h hardware) String() string {
	return fmt.Sprintf("%d cores of %s, load average before: %s\nLinux %s, systemd %s", h.Cores, h.CPU, h.Load, h.Kernel, h.Systemd)
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
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return hardware{}, err
	}
	h.Load, _, _ = strings.Cut(string(load), " ")
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
