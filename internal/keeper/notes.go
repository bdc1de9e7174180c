package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// notes are what a keeper leaves to the next one, in a directory below /run that is
// root's alone: a keeper ends when nobody asks, and what it knows must not.
type notes struct{ dir string }

// notesOf are those of a runtime directory.
func notesOf(runtimeDir string) notes { return notes{filepath.Join(runtimeDir, "keeper")} }

const (
	noteMachine = "machine.json"  // what Probe found
	noteSandbox = "sandbox.json"  // that gVisor works
	noteConfig  = "tenement.toml" // the configuration that holds
)

// machine is what a probe has found out.
type machine struct {
	Host   units.Host
	Checks []Check
	// Fault says why it could not look; then the others are empty.
	Fault string
}

func (n notes) save(name string, text []byte) error {
	err := makeWay(filepath.Dir(n.dir))
	if err == nil {
		err = os.Mkdir(n.dir, 0o700)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = checkTrusted(n.dir)
	}
	if err == nil {
		err = writeAtomically(filepath.Join(n.dir, name), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

// text gives a note; it is nil where there is none.
func (n notes) text(name string) ([]byte, error) {
	text, err := readTrusted(filepath.Join(n.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read note %s: %w", name, err)
	}
	return text, nil
}

func (n notes) forget(name string) error {
	if err := os.Remove(filepath.Join(n.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (n notes) saveMachine(m machine) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return errors.Join(n.forget(noteSandbox), n.save(noteMachine, text))
}

// machine gives what the latest probe has found.
func (n notes) machine() (m machine, text []byte, err error) {
	text, err = n.text(noteMachine)
	if err == nil && text != nil {
		err = json.Unmarshal(text, &m)
	}
	fail := func(msg string) (machine, []byte, error) {
		return machine{}, nil, &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "look at the machine", Msg: msg,
			Hint: "`systemctl start tenement-probe.service` looks, and its log says why if it cannot",
		}
	}
	switch {
	case err != nil:
		return machine{}, nil, err
	case text == nil:
		return fail("nobody has looked yet at what this machine can do")
	case m.Fault != "":
		return fail(m.Fault)
	}
	return m, text, nil
}

// ProbeMachine is Probe for a Server: it looks at what this machine can do with the
// configuration at path, which root alone must be able to write, and notes that below
// base.RuntimeDir. That it could not look is noted as well, unless an earlier look went
// well: what the machine can do does not change by a mistake in the configuration.
func ProbeMachine(ctx context.Context, m Features, base units.Host, path string) error {
	n := notesOf(base.RuntimeDir)
	found, err := probeMachine(ctx, n, m, base, path)
	if err != nil {
		if _, _, before := n.machine(); before == nil {
			return err
		}
		found = machine{Fault: "the machine could not be looked at: " + err.Error()}
	}
	return errors.Join(err, n.saveMachine(found))
}

func probeMachine(ctx context.Context, n notes, m Features, base units.Host, path string) (machine, error) {
	text, err := readTrusted(path)
	if err != nil {
		return machine{}, untrusted("read configuration", tenant.ID{}, "the configuration", path, err)
	}
	cfg, err := parseConfig(path, text)
	if err != nil {
		return machine{}, err
	}
	base.DataRoot = cfg.Settings.DataDir
	there := base.DataRoot // or the nearest directory above it that is
	for err = checkTrusted(there); errors.Is(err, fs.ErrNotExist); err = checkTrusted(there) {
		there = filepath.Dir(there)
	}
	if err != nil {
		return machine{}, untrusted("open data directory", tenant.ID{}, "settings.data_dir", base.DataRoot, err)
	}
	if err := makeWay(base.DataRoot); err != nil {
		return machine{}, fmt.Errorf("make data directory: %w", err)
	}
	release, err := n.lockProbe(ctx)
	if err != nil {
		return machine{}, err
	}
	defer release()
	host, checks, err := Probe(ctx, m, base)
	return machine{Host: host, Checks: checks}, err
}

// lockProbe makes this the only process that probes the machine, until release is called.
func (n notes) lockProbe(ctx context.Context) (release func(), err error) {
	if err := makeWay(filepath.Dir(n.dir)); err != nil {
		return nil, fmt.Errorf("lock probe: %w", err)
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("lock probe: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(n.dir, "probe.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock probe: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock probe: %w", err), f.Close())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock probe: %w", context.Cause(ctx)), f.Close())
		}
	}
}

// grantTime is for how long root's word counts that the daemon may have an instance's data.
const grantTime = 10 * time.Minute

// grant notes that word.
func (n notes) grant(id tenant.ID) error { return n.save("grant-"+units.FileName(id), nil) }

// withdraw takes it back.
func (n notes) withdraw(id tenant.ID) error { return n.forget("grant-" + units.FileName(id)) }

// granted reports whether it has been given, and counts still.
func (n notes) granted(id tenant.ID) bool {
	info, err := os.Lstat(filepath.Join(n.dir, "grant-"+units.FileName(id)))
	return err == nil && time.Since(info.ModTime()).Abs() < grantTime
}

// used counts a grant's time anew after the first half of what it is for, and ends it after
// the second.
func (n notes) used(r request) error {
	if r.Verb == verbSnapshot || r.Verb == verbUnpack {
		return n.grant(r.id())
	}
	return n.withdraw(r.id())
}

// restore tells a Sandbox what an earlier keeper has found out with it, and notes what this
// one does.
func (n notes) restore(s *Sandbox) {
	s.lock = n.lockProbe
	s.told = func(h units.Host) {
		_ = n.save(noteSandbox, []byte(strconv.Quote(h.Runsc))) // it is looked for again otherwise
	}
	text, err := n.text(noteSandbox)
	if err != nil || text == nil {
		return
	}
	if path, err := strconv.Unquote(string(text)); err == nil {
		h := s.base
		h.Runsc, h.Sandbox = path, true
		s.found = &h
	}
}
