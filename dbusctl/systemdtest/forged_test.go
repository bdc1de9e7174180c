package systemdtest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"tenement.dev/dbusctl"
)

// testForged: another program on the bus sends us signals in the manager's name.
func testForged(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	removeAfter(t, name)

	forger, err := dbus.Connect("unix:path=" + busSocket())
	noError(t, "connect", err)
	defer func() { _ = forger.Close() }()
	got := make(chan *dbus.Signal, 10)
	forger.Signal(got)
	ours := ownNames(t, forger)
	if len(ours) != 2 {
		t.Fatalf("this process has the connections %v, want the client's and the forger's", ours)
	}

	started := make(chan error, 1)
	go func() { started <- c.StartTransient(ctx, oneshot(name, "sleep 1000")) }()
	r.waitState(t, 0, name, "activating")
	job, err := c.Property(ctx, name, "Unit", "Job")
	noError(t, "get the job", err)
	id, ok1 := job.([]any)[0].(uint32)
	path, ok2 := job.([]any)[1].(dbus.ObjectPath)
	if !ok1 || !ok2 || id == 0 {
		t.Fatalf("the job is %v", job)
	}
	const manager = "/org/freedesktop/systemd1"
	for _, destination := range ours { // the forger's own copy shows that they do arrive
		for _, s := range []struct {
			path          dbus.ObjectPath
			iface, member string
			body          []any
		}{
			{"/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", []any{"org.freedesktop.systemd1", ":1.0", forger.Names()[0]}},
			{manager, "org.freedesktop.systemd1.Manager", "JobRemoved", []any{id, path, name, "done"}},
			{manager, "org.freedesktop.systemd1.Manager", "UnitRemoved", []any{"tenement-forged@x.service", dbus.ObjectPath(manager + "/unit/tenement_2dforged_40x_2eservice")}},
			{manager, "org.freedesktop.systemd1.Manager", "Reloading", []any{false}},
		} {
			forger.Send(&dbus.Message{
				Type: dbus.TypeSignal,
				Headers: map[dbus.HeaderField]dbus.Variant{
					dbus.FieldDestination: dbus.MakeVariant(destination),
					dbus.FieldPath:        dbus.MakeVariant(s.path),
					dbus.FieldInterface:   dbus.MakeVariant(s.iface),
					dbus.FieldMember:      dbus.MakeVariant(s.member),
					dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(s.body...)),
				},
				Body: s.body,
			}, nil)
		}
	}
	for arrived := 0; arrived < 4; {
		select {
		case s := <-got:
			if s.Sender == forger.Names()[0] {
				arrived++
			}
		case <-ctx.Done():
			t.Fatal("the bus does not pass such signals on: this test tests nothing")
		}
	}
	noError(t, "stop", c.Stop(ctx, name))
	var job2 *dbusctl.JobError
	if err := <-started; !errors.As(err, &job2) || job2.Result != "canceled" {
		t.Errorf("got %v, want the job that was canceled", err)
	}
	seen, _ := r.events()
	for _, st := range seen {
		if st.Name == "" || strings.Contains(st.Name, "forged") {
			t.Errorf("got the event %v", st)
		}
	}
}

// ownNames gives the unique names of this process' connections.
func ownNames(t *testing.T, conn *dbus.Conn) []string {
	t.Helper()
	var all, ours []string
	noError(t, "list", conn.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&all))
	for _, name := range all {
		var pid uint32
		err := conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, name).Store(&pid)
		if err == nil && int(pid) == os.Getpid() && strings.HasPrefix(name, ":") {
			ours = append(ours, name)
		}
	}
	return ours
}
