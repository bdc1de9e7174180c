package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// quietServer is one that never gets as far as to do something.
func quietServer(t *testing.T, idle time.Duration) (*Server, *net.UnixListener) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "keeper.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := NewServer(ServerOptions{
		Host: units.Host{RuntimeDir: t.TempDir(), InitPath: "/usr/bin/true"}, Idle: idle,
		Proxy: tenant.Account{Name: "nobody", UID: 65534, GID: 65534}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	return s, l
}

// A keeper that cannot work says why to everybody who asks, and ends soon: not at once, or systemd
// would be busy with starting it for as long as anybody waits.
func TestExplain(t *testing.T) {
	_, l := quietServer(t, time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Explain(ctx, l, &tenant.Error{Code: tenant.CodeUnsupported, Op: "keep", Msg: "ten-init is not there", Hint: "bring it back"})
	}()
	for _, text := range []string{`{"verb":"look"}` + "\n", "\n", `{"verb":"load","service":"notes","name":"alice"}` + "\n"} {
		answer, err := say(t, l, text)
		var e *tenant.Error
		if err != nil || !errors.As(answer.Fault.err(tenant.ID{}), &e) || e.Msg != "ten-init is not there" || e.Hint != "bring it back" {
			t.Errorf("%q: got %v, %v, want why there is no keeper", text, answer.Fault, err)
		}
	}
	select {
	case <-ended:
		t.Error("it has ended at once")
	default:
	}
	cancel()
	<-ended
}

// say sends a text and gives the answer.
func say(t *testing.T, l *net.UnixListener, text string) (answer reply, err error) {
	t.Helper()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		return answer, err
	}
	line, err := io.ReadAll(conn)
	if err != nil || len(line) == 0 {
		return answer, errors.Join(err, io.EOF)
	}
	return answer, json.Unmarshal(line, &answer)
}

// A keeper ends when nobody asks, not while somebody does, and who comes as it ends is the
// next one's.
func TestServeEndsWhenIdle(t *testing.T) {
	s, l := quietServer(t, 200*time.Millisecond)
	conn, err := net.Dial("unix", l.Addr().String()) // who says nothing is there all the same
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ended := make(chan error, 1)
	begun := time.Now()
	go func() { ended <- s.Serve(t.Context(), l) }()
	select {
	case err := <-ended:
		t.Fatalf("ended with a connection open: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	conn.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 600*time.Millisecond {
		t.Errorf("ended after %v, before it was idle for long enough", took)
	}
	late, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	go func() { ended <- s.Serve(t.Context(), l) }()
	_ = late.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(late, "{\"verb\":\"dance\"}\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := io.ReadAll(late); err != nil || !strings.Contains(string(line), "no verb") {
		t.Errorf("who came between two keepers: got %q, %v", line, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// Who holds all connections that there can be, and says nothing, delays others only.
func TestServeIsNotExhausted(t *testing.T) {
	s, l := quietServer(t, time.Minute)
	s.talk = 300 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range maxCalls + 40 {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if i%2 == 0 { // some begin
			_, _ = io.WriteString(c, "{\"verb\":")
		}
	}
	answer, err := say(t, l, "{\"verb\":\"dance\"}\n")
	if err != nil || answer.Fault == nil || answer.Fault.Code != tenant.CodeInvalid {
		t.Errorf("got %+v, %v, want an answer", answer.Fault, err)
	}
}

// What is not exactly a request is refused before anything is done with it.
func TestServeRefuses(t *testing.T) {
	s, l := quietServer(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	for name, text := range map[string]string{
		"unknown verb":         `{"verb":"exec"}`,
		"no verb":              `{}`,
		"a path for a name":    `{"verb":"stop","service":"notes","name":"../../etc"}`,
		"a path for a service": `{"verb":"wipe","service":"..","name":"alice"}`,
		"a dot for a service":  `{"verb":"wipe","service":".tenement","name":"alice"}`,
		"no name":              `{"verb":"wipe","service":"notes"}`,
		"nothing named":        `{"verb":"wipe"}`,
		"spaces":               `{"verb":"load","service":"notes","name":"a b","port":30000}`,
		"a line break":         `{"verb":"load","service":"notes","name":"a\nUser=root","port":30000}`,
		"upper case":           `{"verb":"load","service":"Notes","name":"alice","port":30000}`,
		"a percent sign":       `{"verb":"load","service":"notes","name":"%n","port":30000}`,
		"a long name":          `{"verb":"load","service":"notes","name":"` + strings.Repeat("a", 64) + `","port":30000}`,
		"a path for a release": `{"verb":"load","service":"notes","name":"alice","release":"../../tmp"}`,
		"a limit out of range": `{"verb":"limit","service":"notes","name":"alice","limits":{"memory":-1}}`,
		"a limit there is not": `{"verb":"limit","service":"notes","name":"alice","limits":{"ExecStart":1}}`,
		"a path for a secret":  `{"verb":"secret","service":"notes","name":"alice","secret":"../x","value":"eA=="}`,
		"a path among secrets": `{"verb":"load","service":"notes","name":"alice","secrets":[{"Name":"../x"}]}`,
		"a service to load":    `{"verb":"load","service":"notes","port":30000}`,
		"a name for a look":    `{"verb":"look","service":"notes","name":"alice"}`,
		"a port for a stop":    `{"verb":"stop","service":"notes","name":"alice","port":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := say(t, l, text+"\n")
			if err != nil || answer.Fault == nil || answer.Fault.Code != tenant.CodeInvalid {
				t.Errorf("got %+v, %v, want it refused as %s", answer.Fault, err, tenant.CodeInvalid)
			}
		})
	}
	// These are not even answered.
	for name, text := range map[string]string{
		"a command line":      `{"verb":"load","service":"notes","name":"alice","command":["/bin/sh"]}` + "\n",
		"a property":          `{"verb":"load","service":"notes","name":"alice","properties":{"User":"root"}}` + "\n",
		"a configuration":     `{"verb":"look","config":"/tmp/tenement.toml"}` + "\n",
		"more than a message": `{"verb":"tend"} {"verb":"tend"}` + "\n",
		"too long":            `{"verb":"` + strings.Repeat("x", maxRequest) + `"}` + "\n",
		"a number too large":  `{"verb":"load","service":"notes","name":"alice","port":99999999999999999999}` + "\n",
		"no JSON":             "load notes:alice\n",
		"a NUL":               "\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			if answer, err := say(t, l, text); err == nil {
				t.Errorf("got %+v, want to be hung up on", answer)
			}
		})
	}
	if s.works != nil {
		t.Error("something was done")
	}
	if entries, _ := os.ReadDir(s.o.Host.RuntimeDir); len(entries) > 0 {
		t.Errorf("something was written: %v", entries)
	}
}

// An error that is for people arrives as it was.
func TestFaults(t *testing.T) {
	id := tenant.ID{Service: "notes", Name: "alice"}
	for _, err := range []error{
		nil,
		errors.New("disk on fire"),
		&tenant.Error{Code: tenant.CodeUnsupported, Op: "load", ID: id, Msg: "no", Hint: "buy one", Err: errors.New("ENODEV")},
		&tenant.Error{Code: tenant.CodeLimit, Op: "load", ID: id, Msg: "too many"},
	} {
		text, merr := json.Marshal(reply{Fault: faultOf(err)})
		if merr != nil {
			t.Fatal(merr)
		}
		var r reply
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		got := r.Fault.err(id)
		if (got == nil) != (err == nil) || tenant.CodeOf(got) != tenant.CodeOf(err) {
			t.Errorf("got %v, want %v", got, err)
			continue
		}
		var e *tenant.Error
		if errors.As(err, &e) && got.Error() != err.Error() {
			t.Errorf("got %v, want %v", got, err)
		}
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Unix(1000, 0)
	logged := 0
	for range 1000 {
		if _, ok := th.allow(now); ok {
			logged++
		}
	}
	if logged != throttleBurst {
		t.Errorf("got %d at once, want %d", logged, throttleBurst)
	}
	if missed, ok := th.allow(now.Add(time.Second)); !ok || missed != 1000-throttleBurst {
		t.Errorf("a second later: got %v with %d missed", ok, missed)
	}
}

// Only what root alone can change is trusted, with all that is on the way to it.
func TestTrusted(t *testing.T) {
	base := "/opt/trust-test"
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	put := func(path string, mode os.FileMode, uid, gid int) {
		t.Helper()
		path = filepath.Join(base, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if strings.HasSuffix(path, "-d") {
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(path, nil, 0o644))
		}
		if err := errors.Join(err, os.Chown(path, uid, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(base, path)); err != nil {
			t.Fatal(err)
		}
	}
	put("good", 0o644, 0, 0)
	put("group-root", 0o664, 0, 0)
	put("group", 0o664, 0, 1000)
	put("read", 0o640, 0, 1000)
	put("world", 0o646, 0, 0)
	put("theirs", 0o644, 1000, 0)
	put("their-d/x", 0o644, 0, 0)
	put("their-d", 0o755, 1000, 0)
	put("sticky-d/x", 0o644, 0, 0)
	put("sticky-d", 0o777|os.ModeSticky, 0, 0)
	put("own-d/x", 0o644, 0, 0)
	put("own-d", 0o755, 0, 0)
	link("good", "to-good")
	link("world", "to-world")
	link("their-d/../good", "through-their-d")
	link("/opt/trust-test/their-d", "to-their-d")
	link("loop", "loop")
	for path, want := range map[string]bool{
		"good": true, "group-root": true, "read": true, "own-d/x": true, "to-good": true, "own-d/../good": true,
		"group": false, "world": false, "theirs": false, "their-d/x": false, "sticky-d/x": false,
		"to-world": false, "through-their-d": false, "to-their-d/x": false, "loop": false, "absent": false,
	} {
		if err := checkTrusted(base + "/" + path); (err == nil) != want {
			t.Errorf("%s: got %v, want it trusted: %v", path, err, want)
		}
		text, err := readTrusted(base + "/" + path)
		if (err == nil) != want || text == nil && want {
			t.Errorf("read %s: got %v, want it read: %v", path, err, want)
		}
	}
}
