package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// signed puts into each answer who gave it: the instance, and which life of it.
func signed(h http.Handler) http.Handler {
	life := rand.Text()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Testapp-Instance", os.Getenv("TENEMENT_INSTANCE"))
		w.Header().Set("Testapp-Life", life)
		h.ServeHTTP(w, r)
	})
}

// notebook keeps a line per note in the data directory.
type notebook struct{ mu sync.Mutex }

func (n *notebook) path() string { return filepath.Join(os.Getenv("DATA_DIR"), "notes") }

// ServeHTTP answers POST once the note is in the file, which outlives this process, and
// GET with all of them.
func (n *notebook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		text, err := os.ReadFile(n.path())
		if err != nil && !os.IsNotExist(err) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(text)
		return
	}
	line, err := bufio.NewReader(io.LimitReader(r.Body, 256)).ReadString('\n')
	if err == nil {
		err = n.add(line)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, line)
}

func (n *notebook) add(line string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, err := os.OpenFile(n.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line)
	return err
}

// beAlone ends this process if another one of the same instance runs: the lock is held
// until the process ends.
func beAlone() {
	// A bare descriptor, which is closed with the process and no sooner.
	fd, err := unix.Open(filepath.Join(os.Getenv("DATA_DIR"), "alone"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "NOT ALONE:", err)
		os.Exit(77)
	}
}
