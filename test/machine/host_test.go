package machine

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestHostMirror(t *testing.T) {
	t.Parallel()
	const debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_CODENAME=bookworm\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"one-line", map[string]string{
			"os-release": debian,
			"apt/sources.list": "# deb http://commented.invalid/debian bookworm main\n" +
				"deb http://security.invalid/debian bookworm-security main\n" +
				"deb-src http://source.invalid/debian bookworm main\n" +
				"deb [arch=amd64 signed-by=/x] http://mirror.invalid/debian bookworm main contrib\n",
		}, "http://mirror.invalid/debian"},
		{"deb822", map[string]string{
			"os-release": debian,
			"apt/sources.list.d/debian.sources": "Types: deb\nURIs: https://off.invalid/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n\n" +
				"Types: deb\n# a comment\nURIs: http://security.invalid/debian\nSuites: bookworm-security\nComponents: main\n\n" +
				"Types: deb deb-src\nURIs:\n cdrom:[x]/\n https://mirror.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /x\n",
		}, "https://mirror.invalid/debian"},
		{"a third party's repository is no mirror", map[string]string{
			"os-release":                     debian,
			"apt/sources.list.d/node.list":   "deb https://node.invalid/x nodistro main\n",
			"apt/sources.list.d/tool.list":   "deb https://tool.invalid/apt bookworm tool\n",
			"apt/sources.list.d/other.saved": "deb https://saved.invalid/debian bookworm main\n",
		}, ""},
		{"not a Debian", map[string]string{
			"os-release":       "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n",
			"apt/sources.list": "deb http://mirror.invalid/ubuntu noble main\n",
		}, ""},
		{"no apt", map[string]string{"os-release": debian}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			etc := t.TempDir()
			for name, text := range test.files {
				path := filepath.Join(etc, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if got := hostMirror(etc); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFindHierarchies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, mountinfo string
		want            hierarchies
		fails           bool
	}{
		{"unified", "24 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
			hierarchies{unified: "/sys/fs/cgroup"}, false},
		{"hybrid", "30 20 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"31 20 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
			"32 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			hierarchies{unified: "/sys/fs/cgroup/unified", named: "/sys/fs/cgroup/systemd"}, false},
		{"v1 only", "31 20 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n", hierarchies{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := findHierarchies(test.mountinfo)
			if test.fails != (err != nil) || !test.fails && got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestInsideFlags(t *testing.T) {
	t.Parallel()
	args := []string{
		"-test.testlogfile=/tmp/b/testlog.txt", "-test.paniconexit0", "-test.timeout=10m0s", "-test.run=X", "-test.v=true",
		"-test.coverprofile=/tmp/b/_cover_.out", "--test.cpuprofile", "cpu.out", "-test.gocoverdir=/tmp/b/gocoverdir",
		"-test.outputdir", "prof", "-test.testlogfile", "/x", "-args", "-test.trace=mine",
	}
	gotArgs, gotDirs := insideFlags(args, "/src/pkg")
	wantArgs := []string{
		"-test.paniconexit0", "-test.timeout=10m0s", "-test.run=X", "-test.v=true",
		"-test.coverprofile=/tmp/b/_cover_.out", "-test.cpuprofile=/src/pkg/prof/cpu.out", "-test.gocoverdir=/tmp/b/gocoverdir",
		"-test.outputdir=/src/pkg/prof", "-args", "-test.trace=mine",
	}
	wantDirs := []string{"/src/pkg/prof", "/tmp/b", "/tmp/b/gocoverdir"}
	if !slices.Equal(gotArgs, wantArgs) {
		t.Errorf("arguments:\n got %q\nwant %q", gotArgs, wantArgs)
	}
	if !slices.Equal(gotDirs, wantDirs) {
		t.Errorf("writable: got %q, want %q", gotDirs, wantDirs)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := parseOwner(me.id()); !ok || got != me {
		t.Errorf("an id of %+v is read as %+v", me, got)
	}
	for _, foreign := range []string{"", "x", "notes-1-2-3-4", me.id() + "x", "../" + me.id()} {
		if _, ok := parseOwner(foreign); ok {
			t.Errorf("%q passes for an id of ours", foreign)
		}
	}
	later, rebooted, elsewhere := me, me, me
	later.start++
	rebooted.boot = "00000000"
	elsewhere.pidNS, elsewhere.pid = 1, 1<<22
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	gone := me
	gone.pid = ended.Process.Pid
	for _, test := range []struct {
		name string
		o    owner
		want bool
	}{
		{"this process", me, false},
		{"a pid used again", later, true},
		{"another boot", rebooted, true},
		{"a process that ended", gone, true},
		{"a pid namespace that cannot be looked into", elsewhere, false},
	} {
		if got := test.o.dead(me); got != test.want {
			t.Errorf("%s: dead is %v, want %v", test.name, got, test.want)
		}
	}
}

func TestSweepLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	foreign, err := os.MkdirTemp(stateDir, "somebody-elses-")
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(stateDir, 0o700)
		if err == nil {
			foreign, err = os.MkdirTemp(stateDir, "somebody-elses-")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(foreign)
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	h, err := findHierarchies(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := sweep(h, me); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a directory that no machine made: %v", err)
	}
}

func TestCleanKeepsTreesInUse(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	old := time.Now().Add(-keepUnused - time.Hour)
	for _, name := range []string{suite + "-used", suite + "-old", "building-1", "somebody-elses"} {
		dir := filepath.Join(cache, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if name != suite+"-used" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := clean(cache); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{"somebody-elses", suite + "-used"}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}
