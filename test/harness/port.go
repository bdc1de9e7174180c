package harness

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// FreePort gives ports from firstPort on: the kernel gives those from 32768 on to clients, any
// of whom could have it before it is listened on, or while the daemon is away. Apps have the
// ports from 30000 on.
const (
	firstPort = 20_000
	numPorts  = 10_000
)

// portsTried makes the ports that FreePort tries different from each other.
var portsTried atomic.Int32

// FreePort gives a port of the loopback to listen on, which nobody else is given.
func FreePort(tb testing.TB) int {
	tb.Helper()
	first := rand.IntN(numPorts) // another test's process may look for one, too
	for range numPorts {
		port := firstPort + (first+int(portsTried.Add(1)))%numPorts
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return 0
}
