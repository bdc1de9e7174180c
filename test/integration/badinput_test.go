package integration

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

// TestBadConfigurations checks that the daemon refuses to start with one clear line
// and a hint.
func TestBadConfigurations(t *testing.T) {
	for name, test := range map[string]struct {
		config string
		want   []string
	}{
		"broken TOML":       {"[service.app\n", []string{"tenement.toml:1"}},
		"unknown key":       {"[service.app]\ncommand = \"true\"\nhelth = \"/x\"\n", []string{"tenement.toml:3", "helth", "health"}},
		"command not found": {"[service.app]\ncommand = \"uv run app.py\"\n", []string{"tenement.toml:2", "command not found: uv"}},
		"no table":          {"[settings]\ntls = true\n[service.app]\ncommand = \"true\"\n", []string{"tenement.toml:2", "expected a table"}},
		"no such user":      {"[service.app]\ncommand = \"true\"\nisolation = \"process\"\nuser = \"nobody-here\"\n", []string{"tenement.toml:4", "there is no user \"nobody-here\""}},
		"sandbox": {
			"[service.app]\ncommand = \"true\"\nisolation = \"sandbox\"\nnetwork = \"host\"\nlisten = \"fd\"\n",
			[]string{"tenement.toml:4", "network of its own", "tenement.toml:5", "listening socket"},
		},
		"two faults at once": {
			"[service.app]\ncommand = \"true\"\nlisten = \"smoke\"\nidle_timeout = -1\n",
			[]string{"tenement.toml:3", "tenement.toml:4"},
		},
		"bad instance": {"[service.app]\ncommand = \"true\"\n[instances]\napp = [\"A_B\"]\n", []string{"tenement.toml:4", "A_B"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.New(t, harness.Options{Config: test.config})
			if err := s.TryRun(); err == nil {
				t.Fatal("the daemon started")
			}
			refused(t, s, test.want...)
		})
	}
}

// refused checks what the daemon said when it did not start.
func refused(t *testing.T, s *harness.Server, want ...string) {
	t.Helper()
	got := s.Log.String()
	for _, word := range want {
		if !strings.Contains(got, word) {
			t.Errorf("got:\n%s\nwant it to name %q", got, word)
		}
	}
	if lines := strings.Count(got, "\n"); lines > 6 {
		t.Errorf("got %d lines, want a few:\n%s", lines, got)
	}
	if strings.Contains(got, "goroutine") {
		t.Errorf("it panicked:\n%s", got)
	}
}

func TestNoConfiguration(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	if err := os.Remove(filepath.Join(s.Dir, "tenement.toml")); err != nil {
		t.Fatal(err)
	}
	if err := s.TryRun(); err == nil {
		t.Fatal("the daemon started")
	}
	refused(t, s, "ten: there is no tenement.toml in "+s.Dir, "hint:")
}

func TestPortTakenAtStart(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := s.TryRun(); err == nil {
		t.Fatal("the daemon started")
	}
	refused(t, s, "ten: port "+strconv.Itoa(s.Port)+" is in use", "hint:")
}

func TestSecondDaemonOnTheSameData(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	second := harness.New(t, harness.Options{Config: app, Dir: s.Dir, Env: []string{"RUNTIME_DIRECTORY=/run/tenement-second"}})
	if err := second.TryRun(); err == nil {
		t.Fatal("a second daemon started on the same data")
	}
	refused(t, second, "another Tenement (process "+strconv.Itoa(s.PID())+")", "data directory", "hint:")

	elsewhere := harness.New(t, harness.Options{Config: app})
	if err := elsewhere.TryRun(); err == nil {
		t.Fatal("a second daemon started on the same machine")
	}
	refused(t, elsewhere, "another Tenement", "runtime directory", "hint:")
	if r := s.Ten("ps"); r.Code != 0 {
		t.Errorf("the first one suffered: %s", r)
	}
}

func TestNoSystemd(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	// A root directory without /run is as good as a container without systemd.
	cmd := s.Command("/usr/bin/unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && exec ten serve --port "+strconv.Itoa(s.Port))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Tenement needs systemd; none is running here") || !strings.Contains(string(out), "make demo") {
		t.Errorf("got %v:\n%s\nwant that systemd is needed, and make demo", err, out)
	}
}

func TestBadRequestsOfOperators(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"spawn nope:alice", 4, `no service "nope"`},
		{"spawn app:A_B", 2, "A_B"},
		{"spawn app:/etc/x", 2, "not a valid instance name"},
		{"spawn app:x--f --", 0, "app:x--f"},
		{"spawn app", 2, "service:name"},
		{"stop app:zed", 4, "app:zed"},
		{"restart app:zed", 4, "app:zed"},
		{"destroy --yes app:zed", 4, "app:zed"},
		{"logs app:zed", 4, "app:zed"},
		{"destroy app:alice", 2, "--yes"},
		{"frobnicate", 2, "frobnicate"},
		{"ps --nope", 2, "nope"},
		{"--server /nowhere ps", 3, "/nowhere"},
		{"serve --domain foo_bar", 2, "is not a domain"},
		{"--server http://example.com ps", 2, "wants a token"},
	} {
		r := s.Ten(strings.Fields(test.args)...)
		if r.Code != test.code || !strings.Contains(r.Stdout+r.Stderr, test.want) {
			t.Errorf("ten %s: got %s\nwant code %d and %q", test.args, r, test.code, test.want)
		}
		if r.Code != 0 && (!strings.HasPrefix(r.Stderr, "ten: ") || strings.Count(r.Stderr, "\n") > 2) {
			t.Errorf("ten %s: got %s\nwant one line of what and one of what to do", test.args, r)
		}
	}
	if r := s.Ten("spawn", "app:alice"); r.Code != 0 || !strings.Contains(r.Stdout, "already") {
		t.Errorf("spawn of one that is awake: %s", r)
	}
	appPID(t, s, "app:alice") // one, though spawned twice
}

func TestOthersMayNotUseTheSocket(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	cmd := s.Command("/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "ten", "--server", "/run/tenement/api.sock", "ps")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(strings.ToLower(string(out)), "permission") {
		t.Errorf("an ordinary user: got %v:\n%s\nwant permission denied", err, out)
	}
}
