package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tenement.dev/internal/probe"
)

// probeFlag and probeSandboxFlag as the first argument make ten-init look at where it is
// instead of running an app; the latter takes the same flags as with a sandboxed app, whose
// bundle has ten-init with the former for an app.
const (
	probeFlag        = "--probe"
	probeSandboxFlag = "--probe-sandbox"
)

// runProbe prints what this process really has, and which of the attempts in args an
// app could make here with success; the daemon starts it in a unit with the properties
// of an instance to learn which of them take effect on this machine.
func runProbe(args []string) int {
	facts := probe.Read()
	facts.Landlock, _ = landlockABI()
	if err := probeCgroup(&facts); err != nil {
		facts.CgroupError = err.Error()
	}
	if len(args) > 0 {
		if err := probeAttempts(args, &facts); err != nil {
			fmt.Fprintln(os.Stderr, "ten-init:", err)
			return exitUsage
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(facts); err != nil {
		fmt.Fprintln(os.Stderr, "ten-init:", err)
		return 1
	}
	return 0
}

// runProbeSandbox runs the bundle's app as an instance's, and waits for its end.
func runProbeSandbox(args []string) int {
	o, err := parse(args)
	if err == nil {
		var a *app
		if a, err = startApp(o, nil, nil); err == nil {
			var status syscall.WaitStatus
			if _, err = syscall.Wait4(a.pid, &status, 0, nil); err == nil {
				return exitCode(status)
			}
		}
	}
	fmt.Fprintln(os.Stderr, "ten-init:", err)
	return 1
}

// probeAttempts makes attempts behind the fence of an app with the port args[0], or
// without where there can be none.
func probeAttempts(args []string, facts *probe.Facts) error {
	var listen address
	if err := listen.UnmarshalText([]byte(args[0])); err != nil {
		return err
	}
	facts.Attempts = map[string]string{}
	try := func() error {
		for _, what := range args[1:] {
			facts.Attempts[what] = ""
			if err := attempt(what); err != nil {
				facts.Attempts[what] = err.Error()
			}
		}
		return nil
	}
	if _, err := inFence(listen.port, false, try); err != nil {
		facts.FenceError = err.Error()
		return try()
	}
	return nil
}

// probeCgroup does to an empty app/ what a doze does to a full one.
func probeCgroup(facts *probe.Facts) error {
	cg, err := enterCgroup()
	if err != nil {
		return err
	}
	if list, err := os.ReadFile(filepath.Join(cg.unit, "cgroup.controllers")); err == nil {
		facts.Controllers = strings.Fields(string(list))
	}
	for _, file := range []string{"io.weight", "io.bfq.weight"} {
		if _, err := os.Stat(filepath.Join(cg.unit, file)); err == nil {
			facts.IOWeight = true
		}
	}
	cg.leave()
	if err := cg.freeze(); err != nil {
		return err
	}
	facts.Freezes = true
	_, err = os.Stat(filepath.Join(cg.dir, "memory.reclaim"))
	facts.Reclaims = err == nil
	return cg.thaw()
}
