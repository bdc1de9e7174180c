package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"tenement.dev/test/bench/platform"
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
	h := hardware{CPU: platform.CPU(), Cores: runtime.NumCPU(), Kernel: platform.Kernel(), LoadBefore: platform.Load()}
	out, err := exec.CommandContext(ctx, "systemctl", "--version").Output()
	if err != nil {
		return hardware{}, fmt.Errorf("systemctl --version: %w", err)
	}
	if fields := strings.Fields(string(out)); len(fields) >= 2 {
		h.Systemd = fields[1]
	}
	return h, nil
}
