package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/tenant"
)

// terminal is a pseudo-terminal (pty(7)) and all that was written to it.
type terminal struct {
	user, tty *os.File
	mu        sync.Mutex
	text      strings.Builder // guarded by mu
}

func newTerminal(t *testing.T, width, height uint16) *terminal {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{user: user, tty: tty}
	var reads sync.WaitGroup
	reads.Go(func() {
		part := make([]byte, 4096)
		for {
			n, err := user.Read(part)
			term.mu.Lock()
			term.text.Write(part[:n])
			term.mu.Unlock()
			if err != nil {
				return // nobody has the other side open
			}
		}
	})
	t.Cleanup(func() { tty.Close(); reads.Wait(); user.Close() })
	return term
}

// String is what was written so far.
func (term *terminal) String() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

// await waits until text was written.
func (term *terminal) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(term.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %q, want %q in it", term, text)
		}
	}
}

// atTerminal changes a test's world: what is read and written is the terminal.
func (term *terminal) atTerminal(vars map[string]string) func(*world) {
	return func(w *world) {
		w.in, w.out, w.err = term.tty, term.tty, term.tty
		w.getenv = func(name string) string { return vars[name] }
	}
}

func startDaemon(t *testing.T) *apitest.Daemon {
	t.Helper()
	d := apitest.Start(t, filepath.Join(t.TempDir(), "api.sock"))
	for i, state := range []tenant.State{tenant.Awake, tenant.Asleep, tenant.Failed} {
		s := tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: "n" + strconv.Itoa(i)}, State: state, Created: time.Now()}
		if state == tenant.Failed {
			s.Reason = "the app ended with exit status 1, and says so in a sentence that no narrow screen has room for"
		}
		d.Instances.Put(s)
	}
	return d
}

// At a terminal tables fit it and have colours; whoever sets NO_COLOR has none.
func TestTablesAtATerminal(t *testing.T) {
	d := startDaemon(t)
	for _, c := range []struct {
		vars    map[string]string
		width   int
		colours bool
	}{
		{nil, 100, true},
		{map[string]string{"NO_COLOR": "1"}, 100, false},
		{map[string]string{"TERM": "dumb"}, 100, false},
		{map[string]string{"COLUMNS": "90"}, 90, true},
	} {
		term := newTerminal(t, 100, 30)
		if r := runIn(t, term.atTerminal(c.vars), "--server", d.Path, "ps"); r.code != 0 {
			t.Fatalf("%v: exit code %d: %s", c.vars, r.code, term)
		}
		term.await(t, "…")
		text := term.String()
		if got := strings.Contains(text, "\x1b[32mawake\x1b[0m") && strings.Contains(text, "\x1b[31mfailed\x1b[0m"); got != c.colours {
			t.Errorf("%v: colours: got %v, want %v: %q", c.vars, got, c.colours, text)
		}
		if !c.colours && strings.Contains(text, "\x1b") {
			t.Errorf("%v: got control characters: %q", c.vars, text)
		}
		table, _, _ := strings.Cut(text, "last lines")
		for line := range strings.Lines(style.ReplaceAllString(table, "")) {
			if got := len([]rune(strings.TrimRight(line, "\r\n"))); got > c.width {
				t.Errorf("%v: a line of %d characters, want at most %d: %q", c.vars, got, c.width, line)
			}
		}
	}
}

// ten top is live until q is typed, and leaves the terminal as it was.
func TestTopAtATerminal(t *testing.T) {
	d := startDaemon(t)
	term := newTerminal(t, 100, 30)
	before, err := unix.IoctlGetTermios(int(term.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 1)
	go func() {
		ended <- runIn(t, term.atTerminal(nil), "--server", d.Path, "top", "--interval", "100ms").code
	}()
	term.await(t, "3 instances: 1 awake, 0 dozing, 1 asleep, 1 failed")
	term.await(t, "20M")
	if _, err := term.user.Write([]byte("n")); err != nil {
		t.Fatal(err)
	}
	term.await(t, "sorted by name")
	if _, err := term.user.Write([]byte("q")); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code: got %d, want 0", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("q does not end it")
	}
	term.await(t, "\x1b[?1049l") // the screen from before
	after, err := unix.IoctlGetTermios(int(term.tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal's settings: got %v (%v), want those from before, %v", after, err, before)
	}
}

// What takes longer than a second is told of at a terminal, and the line is gone afterwards.
func TestProgress(t *testing.T) {
	term := newTerminal(t, 100, 30)
	w := world{getenv: func(string) string { return "" }, err: term.tty}
	stop := (&program{world: w}).progress("spawn notes:alice")
	term.await(t, "\r\x1b[Kspawn notes:alice … ") // and the seconds, which may be more than one
	stop()
	term.await(t, "s\r\x1b[K")
	for end := time.Now().Add(10 * time.Second); !strings.HasSuffix(term.String(), "s\r\x1b[K"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %q, want the line gone at last", term)
		}
	}
	var pipe strings.Builder
	p := &program{world: world{getenv: w.getenv, err: &pipe}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	stop = p.progress("spawn notes:alice")
	<-ctx.Done()
	stop()
	if pipe.Len() > 0 {
		t.Errorf("got %q, want nothing where there is no terminal", pipe.String())
	}
}
