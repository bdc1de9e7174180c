package keeper_test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// Who has an app frozen and dies, as a daemon that is killed, has it go on.
func TestFreezeEndsWithItsCaller(t *testing.T) {
	r := newRig(t, nil)
	spec := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate)
	r.wake(t, spec)
	conn, err := net.Dial("unix", r.host.Doorbell(alice))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(string(ingress.Freeze) + "\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ok ") {
		t.Fatalf("freeze: got %q, %v", line, err)
	}
	dozing := func() bool {
		a, err := r.doorbell(alice).Do(t.Context(), ingress.Status)
		if err != nil {
			t.Fatal(err)
		}
		return a.Dozing
	}
	if !dozing() {
		t.Error("it is not frozen")
	}
	conn.Close()
	for end := time.Now().Add(quick); dozing(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is frozen still")
		}
	}
}
