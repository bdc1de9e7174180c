package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tenement.dev/internal/config"
	"tenement.dev/internal/install"
	"tenement.dev/packaging"
)

// along are the services of the tenement.toml in the directory where `ten install` runs, for the one that it installs.
type along struct {
	file     string // of the directory
	text     string // the tables, with paths that are right from elsewhere
	services []string
	left     []string // keys that are set there and do not come along
	registry string   // what a daemon has kept there, empty where none has run
}

// findAlong reads the tenement.toml of this directory, nil where there is none to be taken. It is read as a machine sees it that
// has o.root as its root. Its faults matter where it would be taken.
func (p *program) findAlong(ctx context.Context, o installOptions) (*along, error) {
	file, err := filepath.Abs(defaultConfig)
	if err != nil {
		return nil, fmt.Errorf("find this directory: %w", err)
	}
	within, err := filepath.Rel(o.root, filepath.Dir(file))
	if err != nil || within == ".." || strings.HasPrefix(within, "../") || !exists(file) {
		return nil, nil
	}
	if file == filepath.Join(o.root, packaging.ConfigPath) {
		return nil, nil
	}
	list, err := config.Show(file, calendarOf(ctx))
	if err != nil && exists(filepath.Join(o.root, packaging.ConfigPath)) && o.keepsConfig() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := &along{file: file}
	for _, s := range list {
		if data, ok := s.Value.(string); ok && s.Table == "settings" && s.Key == "data_dir" {
			if path, ok := from(filepath.Dir(file), filepath.Join(data, ".tenement", registryName)).(string); ok && exists(path) {
				a.registry = path
			}
		}
	}
	a.take(list, "/"+strings.TrimPrefix(within, "."))
	if len(a.services) == 0 {
		return nil, nil
	}
	for _, home := range []string{"home", "root", "run/user"} {
		if within == home || strings.HasPrefix(within, home+"/") {
			p.note("the services of %s do not come along: neither the daemon nor instances see anybody's home; move the app, such as to /srv\n", file)
			return nil, nil
		}
	}
	return a, nil
}

// take writes down the services of a tenement.toml in dir, and who is created with them.
func (a *along) take(list []config.Setting, dir string) {
	var b strings.Builder
	table := ""
	for _, s := range list {
		if s.Table == "settings" || s.Table == "settings.tls" {
			if !s.Default && s.Key != "data_dir" && s.Key != "domain" {
				a.left = append(a.left, s.Key)
			}
			continue
		}
		if s.Table != table {
			table = s.Table
			fmt.Fprintf(&b, "\n[%s]\n", table)
			if name, ok := strings.CutPrefix(table, "service."); ok && !strings.Contains(name, ".") {
				a.services = append(a.services, strings.Trim(name, `"'`))
			}
		}
		switch {
		case s.Table == "instances" || strings.HasSuffix(s.Table, ".env"):
		case s.Key == "workdir" && s.Default:
			s.Value = dir
		case s.Default:
			continue
		case slices.Contains([]string{"workdir", "error_pages", "bind_read_only_paths"}, s.Key):
			s.Value = from(dir, s.Value)
		}
		b.WriteString(s.TOML() + "\n")
	}
	a.text = b.String()
}

// from makes a path, or each of several, one from the root on.
func from(dir string, value any) any {
	switch v := value.(type) {
	case string:
		if !filepath.IsAbs(v) {
			return filepath.Join(dir, v)
		}
	case []any:
		v = slices.Clone(v)
		for i := range v {
			v[i] = from(dir, v[i])
		}
		return v
	}
	return value
}

// installed is the tenement.toml that is installed already, nil where there is none or none that can be read.
func (o installOptions) installed() *config.Config {
	cfg, err := o.load()
	if err != nil {
		return nil
	}
	return cfg
}

// load reads the tenement.toml that is installed. What that of another root names is not looked at: this machine has none of it.
func (o installOptions) load() (*config.Config, error) {
	path := filepath.Join(o.root, packaging.ConfigPath)
	if o.root == "/" {
		return config.Load(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return config.ParseUnseen(path, text, filepath.Dir(path))
}

// keepsConfig reports whether the tenement.toml that is installed stays, though nobody has changed it since: it has services,
// which another would lose, or a domain that nobody names now, or faults.
func (o installOptions) keepsConfig() bool {
	cfg := o.installed()
	return cfg == nil || len(cfg.Services) > 0 || o.domain == "" && len(cfg.Settings.Domains) > 0
}

// sayAlong tells what has become of the services of this directory.
func (p *program) sayAlong(o installOptions, a *along, steps []install.Step) {
	if a == nil {
		return
	}
	path := packaging.ConfigPath
	if kept(steps, path) || slices.ContainsFunc(steps, func(s install.Step) bool { return s.Path == path && s.Change == install.Same }) {
		var missing []string
		cfg := o.installed()
		for _, name := range a.services {
			if cfg == nil || cfg.Services[name] == nil {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			p.note("%s stays as it is, without what %s has: %s\n", path, a.file, strings.Join(missing, ", "))
		}
		return
	}
	p.note("%s gets the services of %s: %s; from now on edit it there\n", path, a.file, strings.Join(a.services, ", "))
	if len(a.left) > 0 {
		p.note("of [settings] there these do not come along: %s\n", strings.Join(a.left, ", "))
	}
	if a.registry != "" {
		p.note("nor do instances and tokens in %s: `ten export` and `ten import` move instances, `ten token gen` makes tokens\n", a.registry)
	}
}
