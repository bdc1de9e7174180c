package install_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/install"
	"tenement.dev/internal/tenant"
	"tenement.dev/packaging"
)

// files are an installation of two files, one of them the administrator's.
func files(version string) []packaging.File {
	return []packaging.File{
		{Path: "/usr/bin/ten", Mode: 0o755, Text: []byte("ten " + version)},
		{Path: "/etc/tenement/tenement.toml", Mode: 0o644, Config: true, Text: []byte("config of " + version)},
	}
}

// apply installs files, and gives what changed, by path.
func apply(t *testing.T, root, version string, list []packaging.File) map[string]install.Change {
	t.Helper()
	p, err := install.NewPlan(root, version, list)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	return changes(p.Steps)
}

func changes(steps []install.Step) map[string]install.Change {
	m := map[string]install.Change{}
	for _, s := range steps {
		m[filepath.Base(s.Path)] = s.Change
	}
	return m
}

func wantChanges(t *testing.T, got, want map[string]install.Change) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("changes: got %v, want %v", got, want)
	}
}

// tree are the paths below root.
func tree(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		list = append(list, strings.TrimPrefix(path, root))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInstallTwice(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "etc/hosts"), "")
	before := tree(t, root)
	wantChanges(t, apply(t, root, "1", files("1")), map[string]install.Change{"ten": install.Create, "tenement.toml": install.Create})
	wantChanges(t, apply(t, root, "1", files("1")), map[string]install.Change{"ten": install.Same, "tenement.toml": install.Same})
	if info, err := os.Stat(filepath.Join(root, "usr/bin/ten")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: got %v (%v), want mode 755", info, err)
	}
	r, err := install.NewRemoval(root, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, root); !slices.Equal(got, before) {
		t.Errorf("a purge leaves %q, want %q", got, before)
	}
}

func TestUpgradeKeepsWhatIsTheAdministrators(t *testing.T) {
	root := t.TempDir()
	apply(t, root, "1", append(files("1"), packaging.File{Path: "/usr/lib/tenement/gone", Text: []byte("x")}))
	put(t, filepath.Join(root, "etc/tenement/tenement.toml"), "mine")
	wantChanges(t, apply(t, root, "2", files("2")), map[string]install.Change{"ten": install.Replace, "tenement.toml": install.Keep})
	if got, err := os.ReadFile(filepath.Join(root, "usr/bin/ten")); string(got) != "ten 2" {
		t.Errorf("after the upgrade: got %q (%v), want ten 2", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "etc/tenement/tenement.toml")); string(got) != "mine" {
		t.Errorf("after the upgrade: got %q (%v), want mine", got, err)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/lib/tenement/gone")); err == nil {
		t.Error("the upgrade has left a file of the version before")
	}
	r, err := install.NewRemoval(root, false)
	if err != nil {
		t.Fatal(err)
	}
	wantChanges(t, changes(r.Steps), map[string]install.Change{"ten": install.Remove, "tenement.toml": install.Keep})
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	wantChanges(t, apply(t, root, "2", files("2")), map[string]install.Change{"ten": install.Create, "tenement.toml": install.Keep})
}

func TestRefusesWhatIsSomebodyElses(t *testing.T) {
	for name, test := range map[string]struct {
		before func(t *testing.T, root string)
		hint   string
	}{
		"somebody else's": {func(t *testing.T, root string) { put(t, filepath.Join(root, "usr/bin/ten"), "ten 1") }, "another name"},
		"changed": {func(t *testing.T, root string) {
			apply(t, root, "1", files("1"))
			put(t, filepath.Join(root, "usr/bin/ten"), "patched")
		}, "another name"},
		"a package's": {func(t *testing.T, root string) {
			put(t, filepath.Join(root, "usr/bin/ten"), "ten 1")
			put(t, filepath.Join(root, "var/lib/dpkg/info/tenement.list"), "/usr/bin/ten\n")
		}, "apt remove tenement"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			test.before(t, root)
			before := tree(t, root)
			_, err := install.NewPlan(root, "2", files("2"))
			if tenant.CodeOf(err) != tenant.CodeConflict || !strings.Contains(err.Error(), "/usr/bin/ten") {
				t.Errorf("got %v, want a conflict that names /usr/bin/ten", err)
			}
			if e := asError(err); e == nil || !strings.Contains(e.Hint, test.hint) {
				t.Errorf("got %+v, want a hint with %q", e, test.hint)
			}
			if got := tree(t, root); !slices.Equal(got, before) {
				t.Errorf("a refusal has changed %q to %q", before, got)
			}
		})
	}
}

// debianCaddyfile is that of Debian's package of Caddy, shortened.
const debianCaddyfile = `# The Caddyfile is an easy way to configure your Caddy web server.

:80 {
	# Set this path to your site's directory.
	root * /usr/share/caddy

	# Enable the static file server.
	file_server

	# reverse_proxy localhost:8080
}
# Refer to the Caddy docs for more information:
`

// Caddy's own Caddyfile is put aside, and comes back; one that somebody has changed is his.
func TestStockCaddyfile(t *testing.T) {
	ours := append(files("1"), packaging.Caddyfile([]byte("ours")))
	for name, away := range map[string]func(root string){
		"uninstalled": func(root string) {
			r, err := install.NewRemoval(root, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := changes(r.Steps)["Caddyfile"]; got != install.Restore {
				t.Errorf("uninstall: got %q, want %q", got, install.Restore)
			}
			if err := r.Apply(); err != nil {
				t.Fatal(err)
			}
		},
		"without Caddy": func(root string) { apply(t, root, "1", files("1")) },
	} {
		root := t.TempDir()
		path := filepath.Join(root, "etc/caddy/Caddyfile")
		want := func(step, path, want string) {
			t.Helper()
			if got, err := os.ReadFile(path); string(got) != want {
				t.Errorf("%s, %s: got %q (%v), want %q", name, step, got, err, want)
			}
		}
		put(t, path, debianCaddyfile)
		if got := apply(t, root, "1", ours)["Caddyfile"]; got != install.Replace {
			t.Errorf("got %q, want %q", got, install.Replace)
		}
		apply(t, root, "1", ours)
		want("installed", path, "ours")
		want("installed", path+".before-tenement", debianCaddyfile)
		away(root)
		want("away", path, debianCaddyfile)
		if _, err := os.Stat(path + ".before-tenement"); err == nil {
			t.Errorf("%s: the copy is still there", name)
		}
	}
	for _, theirs := range []string{"", "example.com {\n\tfile_server\n}\n", debianCaddyfile + "import sites/*\n",
		strings.Replace(debianCaddyfile, "# reverse_proxy", "reverse_proxy", 1)} {
		root := t.TempDir()
		put(t, filepath.Join(root, "etc/caddy/Caddyfile"), theirs)
		if _, err := install.NewPlan(root, "1", ours); tenant.CodeOf(err) != tenant.CodeConflict {
			t.Errorf("over %q: got %v, want a conflict", theirs, err)
		}
	}
}

// What was interrupted can be done again.
func TestInterrupted(t *testing.T) {
	root := t.TempDir()
	apply(t, root, "1", files("1"))
	list := append(files("2"), packaging.File{Path: "/usr/bin/another", Mode: 0o755})
	p, err := install.NewPlan(root, "2", list)
	if err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(root, "usr/bin/another")
	if err := os.Mkdir(blocked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(); err == nil {
		t.Fatal("a file was put where a directory is")
	}
	if got, err := os.ReadFile(filepath.Join(root, "usr/bin/ten")); string(got) != "ten 1" {
		t.Fatalf("got %q (%v), want the interruption before ten is replaced", got, err)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	got := apply(t, root, "2", list)
	wantChanges(t, got, map[string]install.Change{"another": install.Create, "ten": install.Replace, "tenement.toml": install.Same})
}

func asError(err error) *tenant.Error {
	e, _ := err.(*tenant.Error)
	return e
}
