package hostile

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// everywhere has a neighbour who listens at all addresses.
const everywhere = `
[service.wide]
command = ["python3", "-c", "import http.server as h, os, socket; h.HTTPServer.address_family = socket.AF_INET6; h.HTTPServer(('::', int(os.environ['PORT'])), h.SimpleHTTPRequestHandler).serve_forever()"]
`

const wide = "wide:eve"

// With a network of its own it reaches nobody's port, and to listen on one harms nobody.
func TestPortsFromAPrivateNetwork(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config + "network = \"private\"\n"})
	s.Spawn(mallory, bob)
	port := s.Get(bob).Port
	for _, address := range []string{
		fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::1]:%d", port), s.Addr(), "127.0.0.53:53", "192.0.2.1:80",
	} {
		got := try(t, s, "connect", "tcp", address)
		if !slices.Contains([]string{"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"}, got.Errno) {
			t.Errorf("connect to %s: got %q (%s), want nobody there", address, got.Errno, got.Err)
		}
	}
	if got := try(t, s, "lowport"); !strings.HasPrefix(got.Errno, "EACCES") {
		t.Errorf("listen on port 80: got %+v, want EACCES", got)
	}
	if got := try(t, s, "bind", "port", fmt.Sprint(port)); got.Err != "" {
		t.Errorf("listen on the neighbour's number in its own network: %s", got.Err)
	}
	if got := s.Text(bob, "/count"); got != "1" {
		t.Errorf("the neighbour: got count %s, want 1", got)
	}
}

// A network of its own has no names of the world's either: those who look them up for
// everybody on the machine, over a Unix socket, do not for it, and could carry what it says.
func TestNamesFromAPrivateNetwork(t *testing.T) {
	sockets := []string{"/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket"}
	for _, path := range sockets {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		var answering sync.WaitGroup
		answering.Go(func() { // the machine's own programs ask there, too
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				conn.Close()
			}
		})
		t.Cleanup(func() {
			l.Close()
			answering.Wait()
			os.RemoveAll(filepath.Dir(path))
		})
	}
	s := harness.Start(t, harness.Options{Config: config + "network = \"private\"\n[service.wide]\ncommand = \"{bin}/hostile\"\n"})
	s.Spawn(mallory, wide)
	for _, path := range sockets {
		if got := try(t, s, "connect", "unix", path); got.Errno != "EACCES" {
			t.Errorf("connect to %s: got %+v, want EACCES", path, got)
		}
		if got := ask(t, s, wide, "/try/connect", "unix", path); got.Err != "" {
			t.Errorf("on the machine's network, connect to %s: got %+v", path, got)
		}
	}
}

// On the machine's network nobody's port but its own is its: neither to listen on, whether
// or not anybody does, nor to connect to, by whichever of the machine's addresses.
func TestPortsOfTheMachine(t *testing.T) {
	const address = "192.0.2.1"
	if out, err := exec.Command("ip", "addr", "add", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "addr", "del", address+"/32", "dev", "lo").Run() })
	s := harness.Start(t, harness.Options{Config: config + everywhere})
	s.Spawn(mallory, bob, wide)
	for what, port := range map[string]int{
		"the neighbour's": s.Get(bob).Port, "the daemon's": s.Port, "the next one": s.Get(wide).Port + 1, "nobody's": 31999,
	} {
		if got := try(t, s, "bind", "port", fmt.Sprint(port)); got.Errno != "EACCES" && got.Errno != "EPERM" {
			t.Errorf("listen on port %d, %s: got %+v, want EACCES", port, what, got)
		}
	}
	if got := try(t, s, "lowport"); got.Errno != "EACCES" && got.Errno != "EPERM" {
		t.Errorf("listen on port 80: got %+v, want EACCES", got)
	}
	if got := try(t, s, "bind", "port", fmt.Sprint(s.Get(mallory).Port)); got.Errno != "EADDRINUSE" {
		t.Errorf("its own port, on which it listens: got %+v, want EADDRINUSE", got)
	}
	// The same ports answer root at these addresses, so that what refuses is the fence.
	port := s.Get(wide).Port
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", address} {
		to := net.JoinHostPort(host, fmt.Sprint(port))
		conn, err := net.DialTimeout("tcp", to, harness.Timeout)
		if err != nil {
			t.Fatalf("as root: %v", err)
		}
		conn.Close()
		if got := try(t, s, "connect", "tcp", to); got.Err == "" {
			t.Errorf("it can connect to its neighbour at %s", to)
		}
	}
	if got := try(t, s, "connect", "tcp", fmt.Sprintf("127.0.0.1:%d", s.Get(bob).Port)); got.Err == "" {
		t.Error("it can connect to bob")
	}
	if got := s.Text(bob, "/count"); got != "1" {
		t.Errorf("the neighbour: got count %s, want 1", got)
	}
}

// The daemon's ports for operators do not answer it, whichever way it comes and whatever
// has become of the daemon and of the rules since.
func TestPortsOfOperators(t *testing.T) {
	const address = "192.0.2.1"
	if out, err := exec.Command("ip", "addr", "add", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "addr", "del", address+"/32", "dev", "lo").Run() })
	s := harness.Start(t, harness.Options{Config: config + `
[service.unix]
command = "{bin}/testapp"
listen = "unix" # it has no port of its own to fence
[settings]
api_listen = "0.0.0.0:9090"
metrics_listen = "127.0.0.1:9464"
`})
	s.Spawn(mallory, "unix:eve", bob)
	ports := []string{
		"127.0.0.1:9090", "127.0.0.2:9090", address + ":9090", "[::ffff:127.0.0.1]:9090",
		"127.0.0.1:9464", "[::ffff:127.0.0.1]:9464",
	}
	check := func(when string) {
		t.Helper()
		for _, to := range ports {
			// Others get in, so that what refuses is the fence.
			out, err := exec.Command("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
				"curl", "--silent", "--show-error", "--max-time", "20", "--output", "/dev/null", "http://"+to+"/").CombinedOutput()
			if err != nil {
				t.Fatalf("%s: as nobody to %s: %v %s", when, to, err, out)
			}
			if got := try(t, s, "connect", "tcp", to); got.Errno != "ECONNREFUSED" {
				t.Errorf("%s: to %s: got %q (%s), want ECONNREFUSED", when, to, got.Errno, got.Err)
			}
			for _, how := range []string{"", "&mptcp=1"} {
				if got := s.Text("unix:eve", "/connect?to=tcp!"+to+how); got != "" {
					t.Errorf("%s: eve%s reached %s", when, how, got)
				}
			}
		}
	}
	check("at first")
	if r := s.Ten("reload"); r.Code != 0 {
		t.Fatal(r)
	}
	check("after a reload")
	s.Signal(syscall.SIGKILL)
	s.Run()
	check("with a new daemon")
	back := s.Log.Watch("it is back")
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case <-back:
	case <-time.After(harness.Timeout):
		t.Fatal("the fence has not come back")
	}
	check("after a flush")
	if got := s.Text(bob, "/count"); got != "1" {
		t.Errorf("the neighbour: got count %s, want 1", got)
	}
}
