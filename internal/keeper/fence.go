package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fence keeps everybody but root from the ports of instances that have an account of
// their own and share the machine's network, and those instances from the ports of the
// daemon that are not for them. It is the nftables table of its name.
//
// The table stays when the daemon ends, for the instances that go on running, and goes
// with the last of them. `nft delete table inet tenement` removes it at any time; a
// running daemon puts it back, as it does after a `nft flush ruleset`.
type fence struct {
	table  string
	dir    string // a link for each instance: its uid, to its port
	closed []int  // ports that instances shall not connect to

	// mu guards ports over the kernel's table, which follows it; the kernel answers at
	// once.
	mu    sync.Mutex
	ports map[int]int // uid to port, 0 for an instance without one
}

// fenceCheckInterval is the time between two looks at whether the table is there, in
// case that its end was not heard of.
const fenceCheckInterval = 30 * time.Second

// openFence raises the fence with the given name around the instances that dir, which
// lies below /run, says are there, and around closed ports.
func openFence(table, dir string, closed ...int) (*fence, error) {
	f := &fence{table: table, dir: dir, closed: closed, ports: map[int]int{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open fence: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open fence: %w", err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		uid, uerr := strconv.Atoi(e.Name())
		port, perr := strconv.Atoi(target)
		if err := errors.Join(err, uerr, perr); err != nil {
			return nil, fmt.Errorf("open fence: %w", err)
		}
		f.ports[uid] = port
	}
	if err := f.install(); err != nil {
		return nil, err
	}
	return f, nil
}

// install makes the kernel's table anew, in one step. It needs mu held, but in openFence.
func (f *fence) install() error {
	if err := installTable(f.table, f.ports, f.closed); err != nil {
		return fmt.Errorf("install nftables table %q: %w", f.table, err)
	}
	return nil
}

// allow makes the port uid's own. A port has one owner: an earlier one loses it.
func (f *fence) allow(uid, port int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, had := f.ports[uid]
	if had && old == port {
		return nil
	}
	gone := map[int]int{}
	if had {
		gone[uid] = old
	}
	for u, p := range f.ports {
		if p == port && p != 0 {
			gone[u] = p
		}
	}
	for u := range gone {
		if err := f.forgetLocked(u); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("fence port %d: %w", port, err)
	}
	if err := os.Symlink(strconv.Itoa(port), f.link(uid)); err != nil {
		return fmt.Errorf("fence port %d: %w", port, err)
	}
	f.ports[uid] = port
	return f.changeLocked(gone, map[int]int{uid: port})
}

// forbid takes uid's port away.
func (f *fence) forbid(uid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	port, ok := f.ports[uid]
	if !ok {
		return nil
	}
	if err := f.forgetLocked(uid); err != nil {
		return err
	}
	return f.changeLocked(map[int]int{uid: port}, nil)
}

func (f *fence) link(uid int) string { return filepath.Join(f.dir, strconv.Itoa(uid)) }

func (f *fence) forgetLocked(uid int) error {
	if err := os.Remove(f.link(uid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unfence port: %w", err)
	}
	delete(f.ports, uid)
	return nil
}

// changeLocked has the kernel's table follow. If it cannot, somebody has changed or
// removed it, and it is made anew.
func (f *fence) changeLocked(gone, come map[int]int) error {
	if changeTable(f.table, gone, come) == nil {
		return nil
	}
	return f.install()
}

// watch puts the table back where somebody removes it, until ctx ends; then it removes
// it if nobody needs it.
func (f *fence) watch(ctx context.Context, log *slog.Logger) {
	var wg sync.WaitGroup
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // it may have gone before anybody listened
	// Firewall tools flush everything when they start or reload.
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		log.Warn("changes of nftables will be noticed late", "err", err)
	} else {
		wg.Go(func() { listen(ctx, conn, changed) })
		defer wg.Wait()
		defer conn.Close()
	}
	tick := time.NewTicker(fenceCheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := f.leave(); err != nil {
				log.Warn("cannot remove the fence", "err", err)
			}
			return
		case <-changed:
		case <-tick.C:
		}
		restored, err := f.restore()
		switch {
		case err != nil:
			log.Error("instances are not fenced", "err", err)
		case restored:
			log.Warn("somebody has removed the fence; it is back", "table", f.table)
		}
	}
}

// listen tells of tables that are removed, until conn is closed.
func listen(ctx context.Context, conn *netlink.Conn, changed chan<- struct{}) {
	removal := func(m netlink.Message) bool { return m.Header.Type&0xff == unix.NFT_MSG_DELTABLE }
	for ctx.Err() == nil {
		list, err := conn.Receive()
		lost := errors.Is(err, unix.ENOBUFS) // what was lost may have been one
		if err != nil && !lost {
			return
		}
		if !lost && !slices.ContainsFunc(list, removal) {
			continue
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// restore makes the table anew if it is not there.
func (f *fence) restore() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	there, err := hasTable(f.table)
	if err != nil || there {
		return false, err
	}
	return true, f.install()
}

// leave removes the table if there is no instance.
func (f *fence) leave() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ports) > 0 {
		return nil
	}
	return dropFence(f.table, f.dir)
}

// dropFence removes a fence, whoever is behind it, and what is known of it.
func dropFence(table, dir string) error {
	if err := errors.Join(removeTable(table), os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("remove nftables table %q: %w", table, err)
	}
	return nil
}
