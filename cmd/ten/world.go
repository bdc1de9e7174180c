package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	sdjournal "github.com/coreos/go-systemd/v22/journal"
)

// world is what the program knows of the outside.
type world struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	euid     int
	now      func() time.Time
	// run is where runtime directories are, etc where the package's configuration is.
	run, etc string
}

// outside is the real one.
func outside() world {
	return world{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv, euid: os.Geteuid(), now: time.Now, run: "/run", etc: "/etc",
	}
}

// runtimeDir holds the API's socket, the doorbells and the instances' sockets. As a
// unit, systemd names it in $RUNTIME_DIRECTORY (systemd.exec(5)).
func (w world) runtimeDir() string {
	if dir := w.getenv("RUNTIME_DIRECTORY"); dir != "" {
		return dir
	}
	if w.euid == 0 {
		return filepath.Join(w.run, "tenement")
	}
	base := w.getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = filepath.Join(w.run, "user", strconv.Itoa(w.euid))
	}
	return filepath.Join(base, "tenement")
}

// logsToJournal reports whether what is written to standard error ends in systemd's
// journal (systemd.exec(5), $JOURNAL_STREAM).
func (w world) logsToJournal() bool {
	if w.err != os.Stderr {
		return false
	}
	yes, err := sdjournal.StderrIsJournalStream()
	return yes && err == nil
}
