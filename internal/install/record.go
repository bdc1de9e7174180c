package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tenement.dev/internal/tenant"
)

// RecordPath is the file that says what was written here.
const RecordPath = "/usr/lib/tenement/installed.json"

// record is that file.
type record struct {
	Version string            `json:"version"`
	Files   map[string]string `json:"files"`            // path to checksum
	Before  map[string]string `json:"before,omitempty"` // the same of files that are being replaced
	Config  []string          `json:"config,omitempty"` // those that stay until a purge
	Aside   map[string]string `json:"aside,omitempty"`  // path to that of another package's file, until ours goes
	Dirs    []string          `json:"dirs,omitempty"`   // made here, outermost first
}

// readRecord gives what was written below root; there may be nothing.
func readRecord(root string) (record, error) {
	r := record{Files: map[string]string{}}
	text, err := os.ReadFile(filepath.Join(root, RecordPath))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, &tenant.Error{
			Code: tenant.CodeInternal, Op: "install", Err: err,
			Msg:  fmt.Sprintf("%s, which says what was installed, cannot be read: %v", RecordPath, err),
			Hint: "without it nothing is overwritten and nothing removed: restore it, or remove the files by hand",
		}
	}
	return r, nil
}

// wrote reports whether a file's text is what was written here.
func (r record) wrote(path string, text []byte) bool {
	s := sum(text)
	return r.Files[path] == s || r.Before[path] == s
}

// remove takes away a file of ours. Another package's that was there before comes back,
// in one step.
func (r record) remove(root, path string) error {
	if aside := r.Aside[path]; aside != "" {
		err := os.Rename(filepath.Join(root, aside), filepath.Join(root, path))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(filepath.Join(root, path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}
