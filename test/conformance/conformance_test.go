package conformance_test

import (
	"net"
	"testing"

	"tenement.dev/test/conformance"
)

// TestFront is all that goes on at one daemon, side by side.
func TestFront(t *testing.T) {
	s := start(t, "app:alice", "raw:alice", "raw:bob", "raw:carol", "raw:dave", "raw:eve", "raw:frank", "brief:ws", "dozer:ws", "ticker:sse", "app:bob", "hasty:alice")
	t.Run("front", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *server){
			"cases":     testCases,
			"silent":    testSilent,
			"WebSocket": testWebSocket,
			"events":    testEvents,
			"streams":   testStreams,
			"bodies":    testBodies,
			"h2spec":    testH2Spec,
			"requests":  func(t *testing.T, s *server) { conformance.Requests(t, s.front("raw:alice")) },
			"requests over TLS": func(t *testing.T, s *server) {
				f := s.front("raw:carol")
				f.Dial = func() (net.Conn, error) { return s.dialTLS(f.Host, "http/1.1") }
				conformance.Requests(t, f)
			},
			"requests over HTTP/2": func(t *testing.T, s *server) { conformance.H2(t, s.front("raw:dave")) },
			"answers":              func(t *testing.T, s *server) { conformance.Answers(t, s.front("raw:bob")) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s)
			})
		}
	})
}
