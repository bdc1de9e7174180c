package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

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

// On the machine's network a port that is in use is its owner's.
func TestPortsOfTheMachine(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config})
	s.Spawn(mallory, bob)
	for _, port := range []int{s.Get(bob).Port, s.Port} {
		if got := try(t, s, "bind", "port", fmt.Sprint(port)); got.Errno != "EADDRINUSE" && got.Errno != "EACCES" && got.Errno != "EPERM" {
			t.Errorf("listen on port %d, which is in use: got %+v", port, got)
		}
	}
	if got := try(t, s, "lowport"); got.Err == "" {
		t.Error("it can listen on port 80")
	}
	if got := s.Text(bob, "/count"); got != "1" {
		t.Errorf("the neighbour: got count %s, want 1", got)
	}
}
