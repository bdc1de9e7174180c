package proxy

import (
	"net"
	"testing"

	"tenement.dev/test/conformance"
	"tenement.dev/test/rawapp"
)

// beforeRaw runs a proxy before an app that keeps what it receives, and answers as it is told.
func beforeRaw(t *testing.T) (address string, server *Server, records rawapp.Records) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	records = rawapp.Records(t.TempDir())
	done := make(chan error, 1)
	go func() { done <- rawapp.Serve(l, records.Open) }()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	address, server = serve(t, &backend{address: l.Addr().String()}, nil)
	return address, server, records
}

func front(t *testing.T) (conformance.Front, *Server) {
	t.Helper()
	address, server, records := beforeRaw(t)
	return conformance.Front{
		Dial:     func() (net.Conn, error) { return net.Dial("tcp", address) },
		Host:     "a.app.test",
		Received: records.Read,
	}, server
}

func TestRequests(t *testing.T) {
	f, _ := front(t)
	conformance.Requests(t, f)
}

func TestAnswers(t *testing.T) {
	f, _ := front(t)
	conformance.Answers(t, f)
}
