package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

// errEnded is a follower that ended for no reason.
var errEnded = &tenant.Error{
	Code: tenant.CodeUnavailable, Op: "read journal",
	Msg:  "journalctl does not keep following the journal",
	Hint: "see how it ends by itself: journalctl -f",
}

// run runs journalctl once and gives its entries to yield. Its error is errStopped if
// yield returned false. The child has ended and is reaped when run returns, also by a
// panic in yield.
func (r *Reader) run(ctx context.Context, args []string, q Query, yield func(Entry) bool) error {
	path, err := exec.LookPath(r.command)
	if err != nil {
		return &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "read journal", Err: err,
			Msg:  fmt.Sprintf("%s was not found in PATH", r.command),
			Hint: "it comes with systemd: install the package systemd",
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	// Nothing of the daemon's environment but the path: SYSTEMD_* variables change
	// what journalctl prints.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0"}
	cmd.WaitDelay = 5 * time.Second
	var complaint lastLine
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	wait := sync.OnceValue(cmd.Wait)
	defer func() { _ = wait() }()
	defer cancel() // before the wait: end it, if it has not ended by itself

	entries := entryReader{decoder: newDecoder(out), unit: q.Unit, prefix: q.Prefix, units: q.Units, tenant: q.Tenant, viewer: q.Viewer, events: q.Events, slice: q.Slice, scope: r.scope}
	for {
		entry, err := entries.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break // wait knows why
		}
		if err != nil {
			return fmt.Errorf("read journal of %s: %w", q.whose(), err)
		}
		if !yield(entry) {
			return errStopped
		}
	}
	if err := wait(); err != nil {
		if cmd.ProcessState.ExitCode() == 1 && len(complaint.end) == 0 && searches(args) {
			return nil // it has found nothing
		}
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "read journal", Err: err,
			Msg:  fmt.Sprintf("journalctl failed: %s", complaint.or(err.Error())),
			Hint: "check the journal with: journalctl --verify",
		}
	}
	return nil
}

// searches reports whether a command line of journalctl has a search in it.
func searches(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--grep=") })
}

// lastLine keeps the end of what is written to it. It is read after the wait only.
type lastLine struct{ end []byte }

func (l *lastLine) Write(p []byte) (int, error) {
	l.end = append(l.end, p...)
	l.end = l.end[max(0, len(l.end)-1024):]
	return len(p), nil
}

// or gives the last line that was written, or otherwise if there was none.
func (l *lastLine) or(otherwise string) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(l.end), "\uFFFD")), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return otherwise
}
