package main

import (
	"errors"
	"fmt"
	"strings"

	"tenement.dev/internal/client"
	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// The exit codes; `ten --help` explains them.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitNoDaemon = 3
	exitNotFound = 4
	exitNotUp    = 5
	exitConfig   = 6
)

// reported is an error that stderr has already; its value is the exit code.
type reported int

func (r reported) Error() string { return fmt.Sprintf("exit code %d", int(r)) }

func exitCode(err error) int {
	var done reported
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case errors.Is(err, client.ErrNoDaemon):
		return exitNoDaemon
	case errors.As(err, new(config.Faults)), errors.Is(err, config.ErrNoFile):
		return exitConfig
	}
	switch tenant.CodeOf(err) {
	case tenant.CodeInvalid:
		return exitUsage
	case tenant.CodeNotFound:
		return exitNotFound
	case tenant.CodeStartFailed, tenant.CodeStartTimeout, tenant.CodeFailed:
		return exitNotUp
	default:
		return exitFailure
	}
}

// note prints to stderr. Where that cannot be printed to there is nobody to tell.
func (p *program) note(format string, args ...any) { _, _ = fmt.Fprintf(p.err, format, args...) }

// report says on stderr what went wrong, unless that has been done.
func (p *program) report(err error) {
	var done reported
	if err == nil || errors.As(err, &done) {
		return
	}
	var e *tenant.Error
	if !errors.As(err, &e) || e.Msg == "" {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			p.note("ten: %s\n", clean(line))
		}
		return
	}
	p.note("ten: %s\n", clean(e.Msg))
	if e.Hint != "" {
		p.note("hint: %s\n", clean(e.Hint))
	}
}

// reportFor is report for what was attempted on one instance, with the last lines of
// its log.
func (p *program) reportFor(verb string, id tenant.ID, err error) {
	var e *tenant.Error
	if !errors.As(err, &e) || e.Msg == "" {
		p.report(fmt.Errorf("%s %s: %w", verb, id, err))
		return
	}
	told := *e
	if !strings.Contains(e.Msg, id.String()) { // where it does, naming it twice reads badly
		told.Msg = fmt.Sprintf("%s %s: %s", verb, id, e.Msg)
	}
	p.report(&told)
	p.noteLog(id, e.Log)
}

// noteLog prints the last lines of an instance.
func (p *program) noteLog(id tenant.ID, log []string) {
	if len(log) == 0 {
		return
	}
	p.note("last lines of %s:\n", id)
	for _, line := range log {
		p.note("  %s\n", clean(line))
	}
}

// sentence is what of err people may see.
func sentence(err error) string {
	var e *tenant.Error
	if errors.As(err, &e) && e.Msg != "" {
		return e.Msg
	}
	return err.Error()
}

// hintOf is what err says is to be done, empty where it does not.
func hintOf(err error) string {
	var e *tenant.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
