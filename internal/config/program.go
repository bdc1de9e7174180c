package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// findProgram gives the absolute path of what name runs: looked up in the
// directories of path as execvp(3) does, or relative to workdir if there is a slash
// in it.
func findProgram(service, name, workdir, path string) (string, *problem) {
	if strings.Contains(name, "/") {
		file := absolute(workdir, name)
		err := checkExecutable(file)
		if errors.Is(err, fs.ErrNotExist) {
			return "", &problem{
				msg:  fmt.Sprintf("command not found: %s (service %s)", name, service),
				hint: fmt.Sprintf("there is no %s", file),
			}
		}
		return file, executableProblem(service, file, err)
	}
	var found error // of the first file that was there and is not executable
	var file string
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(absolute(workdir, dir), name)
		err := checkExecutable(candidate)
		if err == nil {
			return candidate, nil
		}
		if found == nil && errors.Is(err, errNotExecutable) {
			found, file = err, candidate
		}
	}
	if found != nil {
		return "", executableProblem(service, file, found)
	}
	p := &problem{
		msg:  fmt.Sprintf("command not found: %s (service %s)", name, service),
		hint: fmt.Sprintf("looked in %s; install it there, or set PATH in [service.%s.env]", path, service),
	}
	if variable, _, ok := strings.Cut(name, "="); ok && isName(variable) {
		p.hint = fmt.Sprintf("set %s in [service.%s.env]", variable, service)
	}
	return "", p
}

var (
	errNotExecutable = errors.New("not executable")
	errDirectory     = errors.New("is a directory")
)

// checkExecutable checks that file is a program that somebody may execute. Whether
// the instance's user may is for the kernel to say.
func checkExecutable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errDirectory
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return errNotExecutable
	}
	return nil
}

func executableProblem(service, file string, err error) *problem {
	if err == nil || notOurs(err) {
		return nil
	}
	p := &problem{msg: fmt.Sprintf("%s: %s (service %s)", file, reason(err), service)}
	if errors.Is(err, errNotExecutable) {
		p.hint = "chmod +x " + file + ", or put its interpreter before it"
	}
	return p
}

// reason is the last and plainest of the errors that err wraps.
func reason(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}
