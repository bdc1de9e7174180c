package calendar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// timeout bounds one question.
const timeout = 10 * time.Second

// program answers.
const program = "systemd-analyze"

// Check reports what is wrong with an entry, as a *tenant.Error: CodeInvalid where it
// is no calendar time, CodeUnsupported where this machine has no systemd-analyze. One
// that is past and does not come again is right.
func Check(ctx context.Context, entry string) error {
	_, err := Next(ctx, entry, time.Now())
	return err
}

// Next gives the first moment of an entry after the given one, zero where there is
// none. Both are whole seconds; local time is the daemon's ($TZ, else that of the
// machine).
func Next(ctx context.Context, entry string, after time.Time) (time.Time, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return time.Time{}, &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "read schedule", Err: err,
			Msg:  "schedules need " + program + ", which is not on this machine",
			Hint: "install it (Debian: it is in the package systemd), or leave schedule out",
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "calendar", fmt.Sprintf("--base-time=@%d", after.Unix()), "--", entry)
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"LC_ALL=C", "SYSTEMD_COLORS=0", "PATH=" + os.Getenv("PATH")}
	if tz, ok := os.LookupEnv("TZ"); ok {
		cmd.Env = append(cmd.Env, "TZ="+tz)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return time.Time{}, fmt.Errorf("ask %s about %q: %w", program, entry, context.Cause(ctx))
	case errors.As(err, &exit) && exit.Exited():
		return time.Time{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "read schedule",
			Msg:  fmt.Sprintf("%q is not a calendar time of systemd", entry),
			Hint: `write when, as in "hourly" or "Mon..Fri 06:30" (man systemd.time)`,
			Err:  fmt.Errorf("%s: %s", program, strings.TrimSpace(errs.String())),
		}
	case err != nil:
		return time.Time{}, fmt.Errorf("ask %s about %q: %w", program, entry, err)
	}
	return parse(out.String())
}

// layout is how systemd prints a moment (systemd.time(7)).
const layout = "Mon 2006-01-02 15:04:05 MST"

// parse finds the moment in what systemd-analyze prints: where local time is not UTC, a
// line has it in UTC as well.
func parse(out string) (time.Time, error) {
	var text string
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(line, ": ")
		if name = strings.TrimSpace(name); ok && (name == "Next elapse" || name == "(in UTC)") {
			text = strings.TrimSpace(value)
		}
	}
	if text == "never" {
		return time.Time{}, nil
	}
	if !strings.HasSuffix(text, " UTC") {
		return time.Time{}, fmt.Errorf("%s calendar: no moment in %q", program, out)
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s calendar: %w", program, err)
	}
	return t, nil
}
