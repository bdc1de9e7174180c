package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tenement.dev/internal/probe"
)

// runProbe prints what this process really has; the daemon starts it in a unit with the
// properties of an instance to learn which of them take effect on this machine.
func runProbe() int {
	facts := probe.Read()
	if err := probeCgroup(&facts); err != nil {
		facts.CgroupError = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(facts); err != nil {
		fmt.Fprintln(os.Stderr, "ten-init:", err)
		return 1
	}
	return 0
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
	cg.leave()
	if err := cg.freeze(); err != nil {
		return err
	}
	facts.Freezes = true
	_, err = os.Stat(filepath.Join(cg.dir, "memory.reclaim"))
	facts.Reclaims = err == nil
	return cg.thaw()
}
