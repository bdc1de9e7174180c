package integration

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// neighbours have three instances in one network: two that are fenced, and one that is
// not, by which is seen what would be possible.
const neighbours = `
[settings]
port_range = "31200-31230"
[service.app]
command = "{bin}/testapp"
[service.unix]
command = "{bin}/testapp"
listen = "unix"
[service.plain]
command = "{bin}/testapp"
isolation = "process"
`

func lines(text string) []string { return strings.Fields(text) }

// tcp are the ways to reach a port of this machine.
func tcp(port int, hosts ...string) (list []string) {
	for _, host := range hosts {
		list = append(list, "tcp!"+net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return list
}

// asNobody tries to connect as a user who is neither root nor an instance.
func asNobody(s *harness.Server, host string, port int) error {
	return exec.Command("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		"bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", host, port)).Run()
}

// link gives the machine a neighbour: the network namespace "outside" at 192.0.2.2,
// which reaches it at 192.0.2.1, and the same for IPv6.
func link(t *testing.T) {
	t.Helper()
	for _, line := range []string{
		"ip netns add outside",
		"ip link add inside type veth peer name eth0 netns outside",
		"ip addr add 192.0.2.1/24 dev inside",
		"ip addr add 2001:db8::1/64 dev inside nodad",
		"ip link set inside up",
		"ip -n outside addr add 192.0.2.2/24 dev eth0",
		"ip -n outside addr add 2001:db8::2/64 dev eth0 nodad",
		"ip -n outside link set eth0 up",
	} {
		if out, err := exec.Command("/bin/sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "link", "delete", "inside").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		_ = exec.Command("ip", "netns", "delete", "outside").Run()
	})
}

// An instance binds its own port and no other, whichever way it tries.
func TestOwnPortOnly(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: neighbours, Rootless: rootless})
			s.Spawn("app:alice", "app:bob", "unix:carol", "plain:dave")
			alice, bob := strconv.Itoa(s.Get("app:alice").Port), strconv.Itoa(s.Get("app:bob").Port)
			for _, way := range []string{"ip=127.0.0.1", "ip=0.0.0.0", "ip=::1", "ip=::", "ip=127.0.0.1&mptcp=1", "ip=::&mptcp=1"} {
				all := "/bind?from=31200&to=31230&" + way
				if got := lines(s.Text("plain:dave", all)); len(got) < 27 || way == "ip=127.0.0.1" && slices.Contains(got, bob) {
					t.Errorf("without a fence, %s: got %v, want all but those in use", way, got)
				}
				for _, id := range []string{"app:alice", "unix:carol"} {
					// Its own it may have at another address too.
					got := slices.DeleteFunc(lines(s.Text(id, all)), func(port string) bool { return id == "app:alice" && port == alice })
					if len(got) > 0 {
						t.Errorf("%s, %s: can bind %v, want its own port alone", id, way, got)
					}
				}
			}
			// Clients may leave the choice to the kernel.
			if got := s.Text("app:alice", "/bind?from=0&to=0&ip=127.0.0.1"); got != "0" {
				t.Errorf("a port that the kernel chooses: got %q, want that it can be bound", got)
			}
			// Nor does a restart of the app open the fence.
			if r := s.Ten("restart", "app:alice"); r.Code != 0 {
				t.Fatal(r)
			}
			if got := lines(s.Text("app:alice", "/bind?from=31200&to=31230&ip=127.0.0.1")); len(got) > 0 {
				t.Errorf("after a restart: can bind %v, want none", got)
			}
		})
	}
}

// Nobody but root and itself connects to an instance's port, and not to the daemon.
func TestOthersPorts(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: neighbours})
	link(t)
	s.Spawn("app:alice", "app:bob", "unix:carol", "plain:dave")
	alice, bob := s.Get("app:alice").Port, s.Get("app:bob").Port
	// What bob has opened besides is his own affair, but for the outside.
	if got := s.Fetch("app:bob", fmt.Sprintf("/extra?on=0.0.0.0:%d", bob+1)); got.Status != 403 {
		t.Fatalf("got %d %s, want that another port is refused", got.Status, got.Body)
	}
	hosts := []string{"127.0.0.1", "::ffff:127.0.0.1"}
	to := slices.Concat(tcp(bob, hosts...), tcp(alice, "127.0.0.1"), []string{"unix!/run/tenement/api.sock", "unix!/run/tenement/ingress/app@bob.sock"})
	try := "/connect?to=" + strings.Join(to, ",")
	check := func(when string) {
		t.Helper()
		for id, want := range map[string][]string{
			"app:alice":  tcp(alice, "127.0.0.1"),
			"unix:carol": nil,
			"plain:dave": to, // root
		} {
			for _, how := range []string{"", "&mptcp=1"} {
				if got := lines(s.Text(id, try+how)); !slices.Equal(got, want) {
					t.Errorf("%s: %s%s reached %v, want %v", when, id, how, got, want)
				}
			}
		}
		if err := asNobody(s, "127.0.0.1", bob); err == nil {
			t.Errorf("%s: an ordinary user reached bob's port", when)
		}
	}
	check("at first")
	s.Signal(syscall.SIGKILL)
	if err := asNobody(s, "127.0.0.1", bob); err == nil {
		t.Error("while no daemon runs: an ordinary user reached bob's port")
	}
	s.Run()
	check("with a new daemon")
	// As a reload of Debian's nftables.service does.
	back := s.Log.Watch("it is back")
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case <-back:
	case <-time.After(harness.Timeout):
		t.Fatal("the fence is not back")
	}
	check("after a flush of all rules")
	if r := s.Ten("restart", "app:bob"); r.Code != 0 {
		t.Fatal(r)
	}
	check("after a restart")
}

// wide listens on all interfaces.
const wide = `
[service.wide]
command = "python3 -m http.server {port} --bind ::"
[service.app]
command = "{bin}/testapp"
[service.plain]
command = "{bin}/testapp"
isolation = "process"
`

// What listens on all interfaces is not reachable from outside, and from inside by no
// other address either.
func TestOutside(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: wide})
	link(t)
	s.Spawn("wide:alice", "app:bob", "plain:dave")
	port := s.Get("wide:alice").Port
	fromOutside := func(host string, port int, patience string) bool { // what is dropped takes as long
		return exec.Command("ip", "netns", "exec", "outside", "timeout", patience, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", host, port)).Run() == nil
	}
	addresses := []string{"192.0.2.1", "2001:db8::1"}
	opened := func(id string) int {
		_, text, err := net.SplitHostPort(s.Text(id, "/extra?on=[::]:0"))
		port, aerr := strconv.Atoi(text)
		if err != nil || aerr != nil {
			t.Fatalf("%v, %v", err, aerr)
		}
		return port
	}
	own, free := opened("app:bob"), opened("plain:dave")
	for _, host := range addresses {
		if !fromOutside(host, free, "20") {
			t.Errorf("%s: a port of no instance that is fenced is closed: the test proves nothing", host)
		}
		for _, p := range []int{port, own} {
			if fromOutside(host, p, "1") {
				t.Errorf("%s: port %d is open to the outside", host, p)
			}
		}
		if got := s.Text("app:bob", "/connect?to="+tcp(port, host)[0]); got != "" {
			t.Errorf("%s: another instance reached %s", host, got)
		}
		if err := asNobody(s, host, port); err == nil {
			t.Errorf("%s: an ordinary user reached the port", host)
		}
		if got := s.Text("plain:dave", "/connect?to="+tcp(port, host)[0]); got == "" {
			t.Errorf("%s: root does not reach the port: the test proves nothing", host)
		}
	}
	if got := s.Fetch("wide:alice", "/").Status; got != 200 {
		t.Errorf("through the daemon: got %d, want 200", got)
	}
}

// In a network of its own an instance has every port, and nobody else's.
func TestPrivateNetworkNeedsNoFence(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: neighbours + "[service.own]\ncommand = \"{bin}/testapp\"\nnetwork = \"private\"\n", Rootless: rootless})
			s.Spawn("own:alice", "own:bob", "app:carol")
			run := "/run"
			if rootless {
				run = "/run/user/1000"
			}
			to := slices.Concat(tcp(s.Get("app:carol").Port, "127.0.0.1"), tcp(s.Port, "127.0.0.1"), tcp(9999, "127.0.0.1"), []string{"unix!" + run + "/tenement/api.sock"})
			// At bob's address there is bob, but not for alice.
			if got := s.Text("own:bob", "/extra?on=127.0.0.1:9999"); got != "127.0.0.1:9999" {
				t.Errorf("got %q, want that any port can be bound", got)
			}
			if got := s.Text("own:bob", "/connect?to="+strings.Join(to, ",")); got != "tcp!127.0.0.1:9999" {
				t.Errorf("bob reached %q, want his own port alone", got)
			}
			if got := s.Text("own:alice", "/connect?to="+strings.Join(to, ",")); got != "" {
				t.Errorf("alice reached %q, want nothing", got)
			}
		})
	}
}

// Without root an instance cannot reach the daemon either.
func TestDaemonIsOutOfReachRootless(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: neighbours, Rootless: true})
	s.Spawn("app:alice", "app:bob")
	to := "/connect?to=unix!/run/user/1000/tenement/api.sock,unix!/run/user/1000/tenement/ingress/app@bob.sock,unix!/run/user/1000/systemd/private"
	if got := s.Text("app:alice", to); got != "" {
		t.Errorf("alice reached %q", got)
	}
}
