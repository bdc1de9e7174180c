package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tenement.dev/internal/tenant"
)

// Removal is what an uninstallation takes away.
type Removal struct {
	Steps []Step

	root string
	old  record
}

// NewRemoval finds out what was installed below root and is still as it was written. With
// purge the administrator's files go too, changed or not.
func NewRemoval(root string, purge bool) (*Removal, error) {
	old, err := readRecord(root)
	if err != nil {
		return nil, err
	}
	if len(old.Files) == 0 {
		e := &tenant.Error{
			Code: tenant.CodeConflict, Op: "uninstall",
			Msg:  "`ten install` has installed nothing here: there is no " + RecordPath,
			Hint: "where a package has, that is for the package manager",
		}
		return nil, e
	}
	r := &Removal{root: root, old: old}
	for path := range old.Files {
		now, err := os.ReadFile(filepath.Join(root, path))
		config := slices.Contains(old.Config, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("look at what is installed: %w", err)
		case config && !purge, !config && !old.wrote(path, now):
			r.Steps = append(r.Steps, Step{Path: path, Change: Keep})
		case old.Aside[path] != "":
			r.Steps = append(r.Steps, Step{Path: path, Change: Restore})
		default:
			r.Steps = append(r.Steps, Step{Path: path, Change: Remove})
		}
	}
	slices.SortFunc(r.Steps, func(a, b Step) int { return strings.Compare(a.Path, b.Path) })
	return r, nil
}

// Apply does it. Directories go where they were made here and are empty.
func (r *Removal) Apply() error {
	kept := record{Version: "", Files: map[string]string{}, Dirs: r.old.Dirs}
	for _, s := range r.Steps {
		switch s.Change {
		case Remove, Restore:
			if err := r.old.remove(r.root, s.Path); err != nil {
				return fmt.Errorf("uninstall %s: %w", s.Path, err)
			}
		case Keep:
			if slices.Contains(r.old.Config, s.Path) {
				kept.Files[s.Path] = r.old.Files[s.Path]
				kept.Config = append(kept.Config, s.Path)
			}
		}
	}
	if len(kept.Files) > 0 { // for the next installation, or a purge
		p := Plan{root: r.root}
		return p.save(kept)
	}
	if err := os.Remove(filepath.Join(r.root, RecordPath)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("uninstall: %w", err)
	}
	for _, dir := range slices.Backward(r.old.Dirs) {
		_ = os.Remove(filepath.Join(r.root, dir)) // fails while others have something in it
	}
	return nil
}
