package systemdtest

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/dbusctl"
)

// startHeld begins n starts, and waits until they run. They do until the test releases
// them; wait waits until the callers are back.
func startHeld(t *testing.T, c *dbusctl.Client, r *recorder, n int) (release func(), wait func() []error) {
	t.Helper()
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	noError(t, "make a file", err)
	t.Cleanup(func() { _ = lock.Close() })
	noError(t, "lock it", syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	ctx := within(t, 2*limit)
	errs := make([]error, n)
	var wg sync.WaitGroup
	var list []string
	for i := range n {
		name := newName() + ".service"
		list = append(list, name)
		wg.Go(func() { errs[i] = c.StartTransient(ctx, oneshot(name, "exec flock --shared "+lock.Name()+" true")) })
	}
	removeAfter(t, list...)
	for _, name := range list {
		r.waitState(t, 0, name, "activating")
	}
	release = func() { noError(t, "unlock", syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)) }
	return release, func() []error {
		wg.Wait()
		return errs
	}
}

func testReload(t *testing.T) {
	c, r := connect(t)
	release, wait := startHeld(t, c, r, 20)
	mark := r.mark()
	systemctl(t, "daemon-reload")
	r.waitResync(t, mark)
	release()
	for _, err := range wait() {
		noError(t, "start over a reload", err)
	}
	livePair(t, c, r)
}

func testReexec(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	socket, svc, path := pair(t.TempDir())
	removeAfter(t, socket.Name, svc.Name)
	noError(t, "load", c.StartTransient(ctx, socket, svc))

	begin := time.Now()
	release, wait := startHeld(t, c, r, 20)
	mark := r.mark()
	systemctl(t, "daemon-reexec")
	r.waitResync(t, mark)
	release()
	for _, err := range wait() {
		noError(t, "start over daemon-reexec", err)
	}
	t.Logf("starts over daemon-reexec took %v", time.Since(begin))
	mark = r.mark()
	ring(t, path)
	r.waitState(t, mark, svc.Name, "active")
	livePair(t, c, r)
	// Calls made all through another one arrive, or say that they may not have.
	done := make(chan struct{})
	var wg sync.WaitGroup
	var lost, good int
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			switch _, err := c.List(ctx); {
			case err == nil:
				good++
			case errors.Is(err, dbusctl.ErrDisconnected):
				lost++
			default:
				t.Errorf("a call during daemon-reexec: %v", err)
				return
			}
		}
	})
	systemctl(t, "daemon-reexec")
	close(done)
	wg.Wait()
	if lost > 5 {
		t.Errorf("%d calls were lost; a manager that is away for the moment should be waited for", lost)
	}
	t.Logf("of the calls during daemon-reexec, %d arrived and %d were lost", good, lost)
}

// testPrivateSocket: there is no bus.
func testPrivateSocket(t *testing.T) {
	hideBus(t)
	c, r := connect(t)
	livePair(t, c, r)
	release, wait := startHeld(t, c, r, 5)
	mark := r.mark()
	systemctl(t, "daemon-reload")
	r.waitResync(t, mark)
	release()
	for _, err := range wait() {
		noError(t, "start over a reload", err)
	}

	// This ends all private connections.
	_, wait = startHeld(t, c, r, 5)
	mark = r.mark()
	systemctl(t, "daemon-reexec")
	r.waitResync(t, mark)
	for _, err := range wait() {
		if !errors.Is(err, dbusctl.ErrDisconnected) {
			t.Errorf("a start over a lost connection: got %v, want %v", err, dbusctl.ErrDisconnected)
		}
	}
	livePair(t, c, r)
}

// hideBus leaves nothing but the private socket to be found.
func hideBus(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(busVariable(), "unix:path="+filepath.Join(dir, "nothing"))
	if scope() == dbusctl.User {
		noError(t, "link", os.Symlink(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd"), filepath.Join(dir, "systemd")))
		t.Setenv("XDG_RUNTIME_DIR", dir)
	}
}
