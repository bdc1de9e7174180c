package main

import (
	"errors"
	"os"
	"path/filepath"

	"tenement.dev/internal/tenant"
)

const (
	// defaultConfig is the configuration that a command reads which is told of none.
	defaultConfig = "tenement.toml"
	// registryName is the registry in the daemon's own directory.
	registryName = "registry.db"
)

// stateDir holds what the privileged half must not lose: who has which uid.
func (w world) stateDir() string {
	if dir := w.getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	return "/var/lib/tenement"
}

// initPath finds ten-init: beside this program, or where the packages put it.
func initPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	tried := []string{filepath.Join(filepath.Dir(self), "ten-init"), "/usr/lib/tenement/ten-init"}
	for _, path := range tried {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &tenant.Error{
		Code: tenant.CodeNotFound, Op: "serve",
		Msg:  "ten-init is not there: looked at " + tried[0] + " and " + tried[1],
		Hint: "`make build` puts it beside ten",
		Err:  errors.New("no ten-init"),
	}
}
