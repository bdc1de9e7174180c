package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// secretsFlag as the first argument makes ten-init put secrets into its environment and
// become a program: so it is started within a sandbox, whose environment is not its own.
// Package units has its name.
const secretsFlag = "--exec-with-secrets"

// takeSecrets puts the named credentials into this process's environment (systemd.exec(5),
// "Credentials"): names has commas between them.
func takeSecrets(names string) error {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return errors.New("take secrets: systemd has given no credentials")
	}
	for name := range strings.SplitSeq(names, ",") {
		value, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.Setenv(name, string(value))
		}
		if err != nil {
			return fmt.Errorf("take secret %s: %w", name, err)
		}
	}
	return nil
}

// execSecrets never returns.
func execSecrets(args []string) {
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "ten-init: no program given")
		os.Exit(exitUsage)
	}
	err := takeSecrets(args[0])
	if err == nil {
		err = syscall.Exec(args[1], args[1:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "ten-init: execute %s: %v\n", args[1], err)
	os.Exit(exitExec)
}
