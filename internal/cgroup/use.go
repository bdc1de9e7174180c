package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// Use is what an instance uses at a moment. What the machine does not count, since the
// controller for it is missing, is -1.
type Use struct {
	// CPU is the time of all cores together since the instance's start.
	CPU time.Duration
	// Memory and Swap are in bytes; MemoryLimit is how much memory it may have, -1 also
	// where it may have any amount.
	Memory, Swap, MemoryLimit int64
	Tasks                     int64
	// Read and Written are bytes from and to disks since the instance's start.
	Read, Written int64
}

// Use reads what an instance uses. Where it does not run the error is fs.ErrNotExist.
// See the kernel's cgroup-v2 documentation for the files.
func (t Tree) Use(id tenant.ID) (Use, error) {
	cpu, err := t.CPU(id)
	if err != nil {
		return Use{}, err
	}
	u := Use{CPU: cpu}
	dir := t.Dir(id)
	for name, to := range map[string]*int64{
		"memory.current": &u.Memory, "memory.swap.current": &u.Swap, "memory.max": &u.MemoryLimit, "pids.current": &u.Tasks,
	} {
		if *to, err = readNumber(filepath.Join(dir, name)); err != nil {
			return Use{}, fmt.Errorf("read use of %s: %w", id, err)
		}
	}
	if u.Read, u.Written, err = readIO(filepath.Join(dir, "io.stat")); err != nil {
		return Use{}, fmt.Errorf("read use of %s: %w", id, err)
	}
	return u, nil
}

// readNumber reads a file of one number; -1 is no such file, or "max".
func readNumber(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	if word == "max" {
		return -1, nil
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// readIO adds up what went from and to all disks, which have a line each.
func readIO(path string) (read, written int64, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, -1, nil
	}
	if err != nil {
		return 0, 0, err
	}
	for field := range strings.FieldsSeq(string(text)) {
		key, value, _ := strings.Cut(field, "=")
		var to *int64
		switch key {
		case "rbytes":
			to = &read
		case "wbytes":
			to = &written
		default:
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", path, err)
		}
		*to += n
	}
	return read, written, nil
}
