package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// listenReady opens the socket on which nspawn tells that the machine's systemd is up.
func (m *Machine) listenReady() (*net.UnixConn, error) {
	path := filepath.Join(m.dir, "notify")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // an earlier boot's
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
}

// Reboot shuts the machine down in order, and boots the same root again: what was written outside /run and /tmp is still
// there. Commands that run meanwhile are killed, and nobody may make new ones or dial until it is up. It returns when the machine is up.
func (m *Machine) Reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	notify, err := m.listenReady()
	if err != nil {
		return fmt.Errorf("reboot the test machine: %w", err)
	}
	defer notify.Close()
	// The command may be killed with the machine before it has said that all went well.
	out, _ := m.Command(ctx, "root", nil, "systemctl", "reboot").CombinedOutput()
	if err := m.awaitUp(ctx, notify); err != nil {
		return fmt.Errorf("reboot the test machine: %w; systemctl said %q; its console ends so:\n%s", err, out, m.console)
	}
	return nil
}
