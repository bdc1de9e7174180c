package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tenement.dev/internal/tenant"
	"tenement.dev/packaging"
)

// Change is what happens to a file.
type Change string

// The changes.
const (
	Create  Change = "create"
	Replace Change = "replace" // it is as it was written here, and is to be another
	Same    Change = "same"
	Keep    Change = "keep" // the administrator's
	Remove  Change = "remove"
	Restore Change = "restore" // remove, and put back what was there before
)

// Step is what happens to one file.
type Step struct {
	Path   string `json:"path"`
	Change Change `json:"change"`

	file packaging.File
	now  string // the checksum of what is to be replaced
	was  []byte // the text of that, if it is another package's and is put aside
}

// Plan is what an installation changes.
type Plan struct {
	Steps   []Step
	Upgrade string // the version that is installed; empty where none is

	root, version string
	old           record
}

// NewPlan finds out what has to be done below root so that all files are there. Where that
// would overwrite what was not written here it is an error that names the files.
func NewPlan(root, version string, files []packaging.File) (*Plan, error) {
	old, err := readRecord(root)
	if err != nil {
		return nil, err
	}
	p := &Plan{root: root, version: version, old: old, Upgrade: old.Version}
	var foreign []string
	for _, f := range files {
		step := Step{Path: f.Path, file: f}
		_, ours := old.Files[f.Path]
		now, err := os.ReadFile(filepath.Join(root, f.Path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			step.Change = Create
		case err != nil:
			return nil, fmt.Errorf("look at what is installed: %w", err)
		case ours && bytes.Equal(now, f.Text):
			step.Change = Same
		case f.Stock != nil && f.Stock(now):
			step.Change, step.now, step.was = Replace, sum(now), now
		case old.wrote(f.Path, now):
			step.Change, step.now = Replace, sum(now)
		case f.Config:
			step.Change = Keep
		default:
			foreign = append(foreign, f.Path)
		}
		p.Steps = append(p.Steps, step)
	}
	if len(foreign) > 0 {
		return nil, refusal(root, foreign)
	}
	slices.SortFunc(p.Steps, func(a, b Step) int { return strings.Compare(a.Path, b.Path) })
	return p, nil
}

// Keep leaves a file as it is that is there.
func (p *Plan) Keep(path string) {
	for i, s := range p.Steps {
		if s.Path == path && s.Change == Replace {
			p.Steps[i] = Step{Path: path, Change: Keep, file: s.file}
		}
	}
}

// Has reports whether an earlier installation has written a file.
func (p *Plan) Has(path string) bool { return p.old.Files[path] != "" }

// refusal says which files are somebody else's.
func refusal(root string, paths []string) error {
	what := "file"
	if len(paths) > 1 {
		what = "files"
	}
	shown := paths
	if len(shown) > 3 {
		shown = shown[:3]
	}
	text := strings.Join(shown, ", ")
	if more := len(paths) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	e := &tenant.Error{
		Code: tenant.CodeConflict, Op: "install",
		Msg:  fmt.Sprintf("nothing was changed: `ten install` did not write, or somebody has changed, the %s %s", what, text),
		Hint: "move what you want to keep to another name, and install again",
	}
	if _, err := os.Stat(filepath.Join(root, "/var/lib/dpkg/info/tenement.list")); err == nil {
		e.Hint = "the package tenement is installed: upgrade that, or `apt remove tenement` first"
	}
	return e
}

// Apply does it. It can be done again after it was interrupted.
func (p *Plan) Apply() error {
	r := record{Version: p.version, Files: map[string]string{}, Before: map[string]string{}, Aside: map[string]string{}, Config: p.old.Config, Dirs: p.old.Dirs}
	maps.Copy(r.Files, p.old.Files)
	maps.Copy(r.Aside, p.old.Aside)
	made, err := makeDirs(p.root, filepath.Dir(RecordPath))
	r.Dirs = append(r.Dirs, made...)
	if err != nil {
		return fmt.Errorf("note what is installed: %w", err)
	}
	for _, s := range p.Steps {
		if s.Change == Keep {
			continue
		}
		made, err := makeDirs(p.root, filepath.Dir(s.Path))
		r.Dirs = append(r.Dirs, made...)
		if err != nil {
			return fmt.Errorf("install %s: %w", s.Path, err)
		}
		if s.Change == Replace {
			r.Before[s.Path] = s.now
		}
		if s.was != nil {
			r.Aside[s.Path] = s.Path + packaging.AsideSuffix
		}
		r.Files[s.Path] = sum(s.file.Text)
		if s.file.Config && !slices.Contains(r.Config, s.Path) {
			r.Config = append(r.Config, s.Path)
		}
	}
	// First the record: what is written after that is known to be ours, also if this ends here.
	if err := p.save(r); err != nil {
		return err
	}
	for _, s := range p.Steps {
		if s.Change != Create && s.Change != Replace {
			continue
		}
		if s.was != nil {
			if err := write(filepath.Join(p.root, r.Aside[s.Path]), s.was, s.file.Mode); err != nil {
				return fmt.Errorf("keep a copy of %s: %w", s.Path, err)
			}
		}
		if err := write(filepath.Join(p.root, s.Path), s.file.Text, s.file.Mode); err != nil {
			return fmt.Errorf("install %s: %w", s.Path, err)
		}
	}
	return p.prune(r)
}

// prune removes what an earlier version has written and this one has no more, and notes
// that all is done.
func (p *Plan) prune(r record) error {
	for path := range p.old.Files {
		if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Path == path }) || slices.Contains(r.Config, path) {
			continue
		}
		if now, err := os.ReadFile(filepath.Join(p.root, path)); err == nil && p.old.wrote(path, now) {
			if err := p.old.remove(p.root, path); err != nil {
				return fmt.Errorf("remove %s of the version before: %w", path, err)
			}
		}
		delete(r.Files, path)
		delete(r.Aside, path)
	}
	r.Before = nil
	return p.save(r)
}

func (p *Plan) save(r record) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("note what is installed: %w", err)
	}
	if err := write(filepath.Join(p.root, RecordPath), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("note what is installed: %w", err)
	}
	return nil
}

// makeDirs makes a directory and those above it, and gives those that were not there.
func makeDirs(root, dir string) (made []string, err error) {
	if _, err := os.Stat(filepath.Join(root, dir)); err == nil {
		return nil, nil
	}
	if up := filepath.Dir(dir); up != dir {
		if made, err = makeDirs(root, up); err != nil {
			return made, err
		}
	}
	if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return made, err
	}
	return append(made, dir), nil
}

// write puts a file there in one step: a program that runs keeps its own.
func write(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ten-install-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
