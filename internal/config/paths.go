package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tenement.dev/internal/tenant"
)

// checkWorkdir looks at the directory, if it is the same for all instances.
func (d *decoder) checkWorkdir(s *draft) {
	t, p := parseTemplate(s.Workdir)
	if p != nil || !s.sound("workdir") || t.has("") {
		return
	}
	key := s.path
	if s.given["workdir"] {
		key = child(s.path, "workdir")
	}
	if p := checkHome(s.Workdir); p != nil {
		d.fault(key, p)
		return
	}
	if d.unseen {
		return
	}
	dir := absolute(d.config.Dir, t.fill(nil))
	info, err := os.Stat(dir)
	switch {
	case notOurs(err):
	case err != nil:
		p = &problem{msg: fmt.Sprintf("workdir %s: %s", dir, reason(err)), hint: "create it, or set workdir to another"}
	case !info.IsDir():
		p = &problem{msg: fmt.Sprintf("workdir %s is not a directory", dir)}
	case d.hides(s, dir):
		p = &problem{
			msg:  fmt.Sprintf("workdir %s lies in settings.data_dir, where an instance sees only its own directory", dir),
			hint: "keep the two apart",
		}
	}
	if p != nil {
		s.bad["workdir"] = true
		d.fault(key, p)
	}
}

// checkProgram looks for the program, if it is the same for all instances.
func (d *decoder) checkProgram(s *draft) {
	if d.unseen || !s.given["command"] || !s.sound("command", "workdir", "env") {
		return
	}
	env := d.config.searchPathOf(s.Service)
	for _, text := range []string{s.Command[0], env, s.Workdir} {
		if t, p := parseTemplate(text); p != nil || t.has("") {
			return
		}
	}
	fill := func(text string) string { t, _ := parseTemplate(text); return t.fill(nil) }
	workdir := absolute(d.config.Dir, fill(s.Workdir))
	program, p := findProgram(s.Name, fill(s.Command[0]), workdir, fill(env))
	if p == nil && d.hides(s, program) {
		p = &problem{
			msg:  fmt.Sprintf("%s lies in settings.data_dir, where an instance sees only its own directory", program),
			hint: "keep the two apart",
		}
	}
	if p != nil {
		d.fault(child(s.path, "command"), p)
	}
}

// hides reports whether the isolation level of s hides path because other instances'
// data is there.
func (d *decoder) hides(s *draft, path string) bool {
	root := d.config.Settings.DataDir
	return s.sound("isolation") && s.Isolation != tenant.IsolationProcess && (path == root || inside(path, root))
}

// checkBind makes the path absolute and looks at it.
func (d *decoder) checkBind(path *string) *problem {
	if p := checkHome(*path); p != nil {
		return p
	}
	*path = absolute(d.config.Dir, *path)
	root := d.config.Settings.DataDir
	if *path == root || inside(*path, root) {
		return &problem{
			msg:  fmt.Sprintf("%s would show instances each other's data", *path),
			hint: "keep it out of settings.data_dir",
		}
	}
	if d.unseen {
		return nil
	}
	if _, err := os.Stat(*path); err != nil && !notOurs(err) {
		return &problem{msg: fmt.Sprintf("%s: %s", *path, reason(err))}
	}
	return nil
}

// checkDataDir checks data_dir, given in a file in directory base.
func checkDataDir(base, dir string) *problem {
	t, p := parseTemplate(dir)
	switch {
	case p != nil || t.has(""):
		return &problem{msg: "placeholders are not known here", hint: "each instance gets data_dir/SERVICE/ID without them"}
	case dir == "":
		return &problem{msg: "empty", hint: `write a directory, or leave it out for "./data"`}
	case filepath.Clean(dir) == "/":
		return &problem{msg: "the root directory cannot hold the instances' data", hint: "use a directory of its own"}
	}
	if info, err := os.Stat(absolute(base, dir)); err == nil && !info.IsDir() {
		return &problem{msg: absolute(base, dir) + " is not a directory"}
	}
	return checkHome(dir)
}

// notOurs reports whether err is that the daemon's user may not look somewhere. Then
// it is for the instance's start to tell, which happens as another user.
func notOurs(err error) bool { return errors.Is(err, fs.ErrPermission) }

// checkHome refuses what only a shell understands.
func checkHome(path string) *problem {
	if path == "~" || strings.HasPrefix(path, "~/") {
		return &problem{msg: `"~" is for a shell`, hint: "write out the path of the home directory"}
	}
	return nil
}

// absolute makes path absolute and clean.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// inside reports whether path lies below dir; both are absolute and clean.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}
