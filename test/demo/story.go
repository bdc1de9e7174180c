package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The story's tenants doze and sleep after seconds instead of minutes.
const (
	dozeAfter  = 2 * time.Second
	sleepAfter = 6 * time.Second
)

// stepTimeout bounds each wait of the story.
const stepTimeout = 30 * time.Second

const note = "hello from alice"

// story is the demo in a place where systemd runs.
type story struct {
	repo string
	port int
	stay bool
	out  io.Writer

	dir    string // a directory of our own, with the app in it
	env    []string
	daemon *exec.Cmd
	ended  chan error // what the daemon ended with
	log    *lines
}

func (s *story) tell(ctx context.Context) (err error) {
	if err := s.prepare(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.tidyUp()) }()
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"The daemon, on an app that knows nothing of tenants", s.serve},
		{"Two customers: each gets a process and a directory of its own", s.spawn},
		{"A note posted to alice is not in bob's list", s.notes},
		{fmt.Sprintf("Nobody asks for %v: both are frozen. They cost no CPU time now", dozeAfter), s.doze},
		{fmt.Sprintf("Nobody asks for %v: both are stopped. They cost nothing now", sleepAfter), s.sleep},
		{"To systemd they are units like any other", s.status},
		{"The next request wakes alice. It waits, and is answered", s.wake},
	}
	for i, step := range steps {
		fmt.Fprintln(s.out, "\n"+s.bold(fmt.Sprintf("%d. %s", i+1, step.title)))
		if err := step.run(ctx); err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		} else if err != nil {
			fmt.Fprintf(s.out, "✗ %v\n", err)
			return fmt.Errorf("step %d (%s): %w\nthe daemon said:\n%s", i+1, step.title, err, s.log)
		}
	}
	fmt.Fprintln(s.out, "\n✓ all of it is true")
	if s.stay {
		s.linger(ctx)
	}
	return nil
}

// bold is for headings, where somebody looks on.
func (s *story) bold(text string) string {
	if !s.stay {
		return text
	}
	return "\033[1m" + text + "\033[0m"
}

// prepare copies the example, with shorter timeouts, to a directory of our own.
func (s *story) prepare() error {
	dir, err := os.MkdirTemp("", "tenement-demo-")
	if err != nil {
		return err
	}
	s.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	example := filepath.Join(s.repo, "examples/multi-tenant")
	app, err := os.ReadFile(filepath.Join(example, "app.py"))
	if err != nil {
		return err
	}
	config, err := os.ReadFile(filepath.Join(example, "tenement.toml"))
	if err != nil {
		return err
	}
	const idle = "idle_timeout = 300"
	if !bytes.Contains(config, []byte(idle)) {
		return fmt.Errorf("%s/tenement.toml has no %q", example, idle)
	}
	shorter := fmt.Sprintf("doze_timeout = %q\nidle_timeout = %q", dozeAfter, sleepAfter)
	config = bytes.Replace(config, []byte(idle), []byte(shorter), 1)
	config = append(config, "[settings]\narmed = 0            # who sleeps does: nothing is made ready for the next wake\n"...)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "app.py"), app, 0o644),
		os.WriteFile(filepath.Join(dir, "tenement.toml"), config, 0o644),
	); err != nil {
		return err
	}
	// A place of our own for all that the daemon keeps, so that nothing stays behind.
	runtime := "/run/tenement-demo"
	if os.Geteuid() != 0 {
		runtime = filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "tenement-demo")
	}
	s.env = append(os.Environ(), "RUNTIME_DIRECTORY="+runtime, "STATE_DIRECTORY="+filepath.Join(dir, "state"))
	return nil
}

func (s *story) serve(ctx context.Context) error {
	config, err := os.ReadFile(filepath.Join(s.dir, "tenement.toml"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(config)) {
		fmt.Fprint(s.out, "    ", line)
	}
	args := []string{"serve", "--port", strconv.Itoa(s.port), "--domain", "localhost"}
	fmt.Fprintf(s.out, "\n$ ten %s\n", strings.Join(args, " "))
	s.log = &lines{}
	s.daemon = exec.Command(s.ten(), args...)
	s.daemon.Dir, s.daemon.Env = s.dir, s.env
	s.daemon.Stderr = s.log
	// Ctrl-C is for the demo, which ends the daemon when it has tidied up.
	s.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := s.daemon.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.daemon.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		ready <- line
		_, _ = io.Copy(io.Discard, lines)
		s.ended <- s.daemon.Wait()
	}()
	select {
	case line := <-ready:
		if !strings.HasPrefix(line, "serving ") {
			return errors.New("ten serve ended at once")
		}
		fmt.Fprint(s.out, line)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(stepTimeout):
		return errors.New("ten serve was not ready in time")
	}
}

func (s *story) spawn(ctx context.Context) error {
	for _, id := range []string{"notes:alice", "notes:bob"} {
		if err := s.show(ctx, "spawn", id); err != nil {
			return err
		}
	}
	return s.show(ctx, "ps")
}

func (s *story) notes(ctx context.Context) error {
	body := `{"text":"` + note + `"}`
	fmt.Fprintf(s.out, "$ curl -X POST %s -d '%s'\n", s.url("alice"), body)
	if _, _, err := s.request(ctx, http.MethodPost, "alice", body, http.StatusCreated); err != nil {
		return err
	}
	if err := s.expect(ctx, "alice", true); err != nil {
		return err
	}
	return s.expect(ctx, "bob", false)
}

// expect shows a tenant's list and checks whether the note is in it.
func (s *story) expect(ctx context.Context, tenant string, want bool) error {
	fmt.Fprintf(s.out, "$ curl %s\n", s.url(tenant))
	answer, _, err := s.request(ctx, http.MethodGet, tenant, "", http.StatusOK)
	if err != nil {
		return err
	}
	if got := strings.Contains(answer, note); got != want {
		return fmt.Errorf("the note being in %s's list is %v, want %v", tenant, got, want)
	}
	return nil
}

func (s *story) doze(ctx context.Context) error {
	if err := s.await(ctx, "dozing"); err != nil {
		return err
	}
	return s.show(ctx, "ps")
}

func (s *story) sleep(ctx context.Context) error {
	if err := s.await(ctx, "asleep"); err != nil {
		return err
	}
	return s.show(ctx, "ps")
}

func (s *story) status(ctx context.Context) error {
	args := []string{"status", "--no-pager", "--lines=4", "tenement-notes@alice"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user"}, args...)
	}
	fmt.Fprintf(s.out, "$ systemctl %s\n", strings.Join(args, " "))
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	fmt.Fprint(s.out, indent(string(out)))
	var exit *exec.ExitError
	// 3 is "not active" (systemctl(1), "Exit status"), which is the point.
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !bytes.Contains(out, []byte("inactive (dead)")) {
		return errors.New("systemctl does not show alice as stopped")
	}
	return nil
}

func (s *story) wake(ctx context.Context) error {
	fmt.Fprintf(s.out, "$ curl %s\n", s.url("alice"))
	begun := time.Now()
	answer, header, err := s.request(ctx, http.MethodGet, "alice", "", http.StatusOK)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	if !strings.Contains(answer, note) {
		return errors.New("alice's note is not there any more")
	}
	timing := header.Get("Server-Timing")
	if !strings.Contains(timing, `desc="cold"`) {
		return fmt.Errorf("the request woke nobody: Server-Timing is %q", timing)
	}
	fmt.Fprintf(s.out, "  her note is still there; the request took %.1f ms, of which\n", float64(took.Microseconds())/1000)
	for phase := range strings.SplitSeq(timing, ", ") {
		name, duration, _ := strings.Cut(phase, ";dur=")
		if text, ok := phases[name]; ok {
			fmt.Fprintf(s.out, "  %10s ms  %s\n", duration, text)
		}
	}
	return s.show(ctx, "ps")
}

// phases explains the phases of a wake.
var phases = map[string]string{
	"queue":      "waiting for a place",
	"load":       "making the units known to systemd",
	"unit_start": "systemd: cgroup, sandbox, first process",
	"app_ready":  "python3 app.py, until it accepts connections",
	"health":     "its health endpoint answers 200",
	"first_byte": "the request itself",
}

func (s *story) linger(ctx context.Context) {
	fmt.Fprintf(s.out, "\nIt stays up until you press Ctrl-C. Try:\n  curl %s\n  curl %s\n", s.url("alice"), s.url("bob"))
	select {
	case <-ctx.Done():
	case err := <-s.ended:
		s.ended <- err
	}
}

// await waits until both tenants are in the given state.
func (s *story) await(ctx context.Context, state string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := s.command(ctx, "ps", "--json").Output()
		if err != nil {
			return fmt.Errorf("ten ps --json: %w", err)
		}
		var list []struct{ State string }
		if err := json.Unmarshal(out, &list); err != nil {
			return fmt.Errorf("ten ps --json: %w", err)
		}
		if len(list) == 2 && !slices.ContainsFunc(list, func(i struct{ State string }) bool { return i.State != state }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not both %s in time: %s", state, out)
		case <-tick.C:
		}
	}
}

// show runs a ten command and shows what it prints.
func (s *story) show(ctx context.Context, args ...string) error {
	fmt.Fprintf(s.out, "$ ten %s\n", strings.Join(args, " "))
	out, err := s.command(ctx, args...).CombinedOutput()
	fmt.Fprint(s.out, indent(string(out)))
	if err != nil {
		return fmt.Errorf("ten %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func (s *story) ten() string { return filepath.Join(s.repo, "bin/ten") }

func (s *story) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.ten(), args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

func (s *story) url(tenant string) string {
	return fmt.Sprintf("http://%s.notes.localhost:%d/notes", tenant, s.port)
}

// request makes a request to a tenant and shows the answer.
func (s *story) request(ctx context.Context, method, tenant, body string, want int) (string, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	// Not every resolver knows that *.localhost is the loopback.
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d/notes", s.port), strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	req.Host = fmt.Sprintf("%s.notes.localhost:%d", tenant, s.port)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", nil, err
	}
	fmt.Fprint(s.out, indent(string(answer)))
	if resp.StatusCode != want {
		return "", nil, fmt.Errorf("%s %s: status %d, want %d", method, s.url(tenant), resp.StatusCode, want)
	}
	return string(answer), resp.Header, nil
}

// tidyUp removes everything that the story has made.
func (s *story) tidyUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	var errs []error
	if s.daemon != nil && s.daemon.Process != nil {
		_ = s.command(ctx, "destroy", "--yes", "notes:alice", "notes:bob").Run() // not there yet, if it failed early
		_ = s.daemon.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-s.ended:
			if err != nil {
				errs = append(errs, fmt.Errorf("ten serve: %w", err))
			}
		case <-ctx.Done():
			errs = append(errs, errors.New("ten serve did not end"), s.daemon.Process.Kill())
		}
	}
	for _, kv := range s.env {
		if dir, ok := strings.CutPrefix(kv, "RUNTIME_DIRECTORY="); ok {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("  " + line)
	}
	return b.String()
}
