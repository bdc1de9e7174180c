package dbusctl

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	busName     = "org.freedesktop.DBus"
	busIface    = "org.freedesktop.DBus"
	managerName = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")

	managerIface = "org.freedesktop.systemd1.Manager"
	unitIface    = "org.freedesktop.systemd1.Unit"
	serviceIface = "org.freedesktop.systemd1.Service"
	propsIface   = "org.freedesktop.DBus.Properties"
)

// link is one connection to the manager, from handshake to loss. Its signals are in
// signals.go.
type link struct {
	net     net.Conn
	conn    *dbus.Conn
	private bool
	prefix  string // of the object paths of the units that matter
	events  *events
	jobs    *jobs
	refresh chan struct{} // capacity 1; the manager was reloaded or executed anew
	exits   exits         // for DeliverSignal only

	mu    sync.Mutex    // guards what follows; nothing else is locked under it
	owner string        // the manager's unique name on the bus
	heard bool          // owner comes from a signal
	up    chan struct{} // closed while the manager is on the bus
	known map[string]map[string]bool
}

// rawConn is a connection without descriptor passing: no call here needs it, and so
// nobody on the bus can fill our descriptor table.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

func (c rawConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// openLink connects, subscribes and checks that a manager answers. ctx bounds the
// attempt, not the link.
func openLink(ctx context.Context, a address, prefix string, ev *events) (_ *link, err error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return nil, err
	}
	l := &link{
		net:     nc,
		private: a.private,
		prefix:  unitPathPrefix + escapeLabel(prefix),
		events:  ev,
		jobs:    newJobs(),
		refresh: make(chan struct{}, 1),
		up:      make(chan struct{}),
	}
	if prefix == "" {
		l.prefix = unitPathPrefix
	}
	if l.conn, err = dbus.NewConn(rawConn{nc, bufio.NewReaderSize(nc, 16<<10)}, dbus.WithSignalHandler(l)); err != nil {
		_ = nc.Close()
		return nil, err
	}
	// The handshake of godbus knows no context.
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err = l.handshake(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		return nil, fmt.Errorf("connect to %s: %w", a.socket, err)
	}
	return l, nil
}

func (l *link) handshake(ctx context.Context) error {
	if err := l.conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return err
	}
	if l.private {
		if err := l.wake(ctx); err != nil {
			return err
		}
		close(l.up)
		return l.subscribe(ctx)
	}
	if err := l.conn.Hello(); err != nil {
		return err
	}
	for _, rule := range matchRules() {
		if err := l.conn.AddMatchSignalContext(ctx, rule...); err != nil {
			return fmt.Errorf("add a match rule: %w", err)
		}
	}
	var owner string
	err := l.send(ctx, busName, "/org/freedesktop/DBus", busIface+".GetNameOwner", dbus.FlagNoAutoStart, managerName).Store(&owner)
	if err != nil {
		return err
	}
	l.setOwner(owner, false)
	return l.subscribe(ctx)
}

// wake makes the manager look at its end of a private connection. The handshake's last
// line has no answer, and sd-bus leaves a message that it reads together with that
// line where it is until more arrives, which may be never. As it reads at most 256
// bytes at a time before the handshake is over, a longer message cannot be swallowed
// whole.
func (l *link) wake(ctx context.Context) error {
	const method = "org.freedesktop.DBus.Peer.Ping"
	return l.send(ctx, managerName, managerPath, method, 0, strings.Repeat(" ", 4096)).Err
}

// matchRules are what a bus is asked to deliver.
func matchRules() [][]dbus.MatchOption {
	manager := func(member string) []dbus.MatchOption {
		return []dbus.MatchOption{
			dbus.WithMatchSender(managerName),
			dbus.WithMatchObjectPath(managerPath),
			dbus.WithMatchInterface(managerIface),
			dbus.WithMatchMember(member),
		}
	}
	changes := func(iface string) []dbus.MatchOption {
		return []dbus.MatchOption{
			dbus.WithMatchSender(managerName),
			dbus.WithMatchPathNamespace("/org/freedesktop/systemd1/unit"),
			dbus.WithMatchInterface(propsIface),
			dbus.WithMatchMember("PropertiesChanged"),
			dbus.WithMatchArg(0, iface),
		}
	}
	return [][]dbus.MatchOption{
		{
			dbus.WithMatchSender(busName),
			dbus.WithMatchInterface(busIface),
			dbus.WithMatchMember("NameOwnerChanged"),
			dbus.WithMatchArg(0, managerName),
		},
		manager("JobRemoved"),
		manager("Reloading"),
		manager("UnitRemoved"),
		changes(unitIface),
		changes(serviceIface),
	}
}

// subscribe asks the manager to send signals to the bus. What has been heard of the
// manager before, such as that it has come to the bus, asks for no other subscription:
// the bus handles this one later.
func (l *link) subscribe(ctx context.Context) error {
	select {
	case <-l.refresh:
	default:
	}
	err := l.send(ctx, managerName, managerPath, managerIface+".Subscribe", dbus.FlagNoAutoStart).Err
	if replyName(err) == errAlreadySubscribed {
		return nil
	}
	return err
}

// call calls a method of the manager and waits for the reply.
func (l *link) call(ctx context.Context, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return l.send(ctx, managerName, path, method, 0, args...)
}

// send makes a call. godbus writes before it looks at ctx, and a write blocks while
// the other side does not read, as the manager does not during a reload; so the write
// has a goroutine of its own, which ends at the latest with the link.
func (l *link) send(ctx context.Context, dest string, path dbus.ObjectPath, method string, flags dbus.Flags, args ...any) *dbus.Call {
	done := make(chan *dbus.Call, 1)
	go l.conn.Object(dest, path).GoWithContext(ctx, method, flags, done, args...)
	return <-done
}

// blame tells a message that could not be written, such as one with a string that is
// not UTF-8, from a connection that was lost.
func (l *link) blame(err error) error {
	select {
	case <-l.lost():
		return err
	default:
	}
	var format dbus.FormatError
	var message dbus.InvalidMessageError
	if errors.As(err, &format) || errors.As(err, &message) {
		return &valueError{err.Error()}
	}
	return err
}

// lost is closed when the connection is gone.
func (l *link) lost() <-chan struct{} { return l.conn.Context().Done() }

// close ends the connection. The socket comes first: it ends a write that would keep
// godbus from closing.
func (l *link) close() {
	_ = l.net.Close()
	_ = l.conn.Close() // says only that the socket is closed already
}

// setOwner notes who the manager is on the bus. What a signal said is newer than what
// a reply says.
func (l *link) setOwner(owner string, heard bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard && !heard {
		return
	}
	was := l.owner
	l.owner, l.heard = owner, heard
	if was != owner {
		l.known = nil // it may be another version
	}
	switch {
	case was == "" && owner != "":
		close(l.up)
	case was != "" && owner == "":
		l.up = make(chan struct{})
	}
}

// ready is closed while the manager is there.
func (l *link) ready() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// properties gives the names of the properties of an interface of the object at path.
// They are remembered by interface.
func (l *link) properties(ctx context.Context, path dbus.ObjectPath, iface string) (map[string]bool, error) {
	l.mu.Lock()
	names, owner := l.known[iface], l.owner
	l.mu.Unlock()
	if names != nil {
		return names, nil
	}
	var text string
	if err := l.call(ctx, path, "org.freedesktop.DBus.Introspectable.Introspect").Store(&text); err != nil {
		return nil, err
	}
	var node struct {
		Interfaces []struct {
			Name       string `xml:"name,attr"`
			Properties []struct {
				Name string `xml:"name,attr"`
			} `xml:"property"`
		} `xml:"interface"`
	}
	if err := xml.Unmarshal([]byte(text), &node); err != nil {
		return nil, &valueError{"the introspection data of " + string(path) + " is not XML: " + err.Error()}
	}
	found := make(map[string]map[string]bool)
	for _, i := range node.Interfaces {
		found[i.Name] = make(map[string]bool)
		for _, p := range i.Properties {
			found[i.Name][p.Name] = true
		}
	}
	if found[iface] == nil {
		return nil, &valueError{"the manager has no interface " + iface}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner == owner {
		if l.known == nil {
			l.known = make(map[string]map[string]bool)
		}
		l.known[iface] = found[iface]
	}
	return found[iface], nil
}
