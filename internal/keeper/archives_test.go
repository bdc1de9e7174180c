package keeper

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
)

// A stream arrives as it was sent, and ends where it ended.
func TestStream(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	sent := make([]byte, 3*pieceSize+17)
	_, _ = rand.Read(sent)
	failed := make(chan error, 1)
	go func() {
		out := pieces{here}
		_, err := out.Write(sent)
		err = errors.Join(err, out.end())
		_, werr := io.WriteString(here, "after\n")
		failed <- errors.Join(err, werr)
	}()
	in := bufio.NewReader(there)
	got, err := io.ReadAll(&joined{conn: there, in: in})
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
	}
	if line, err := in.ReadString('\n'); err != nil || line != "after\n" {
		t.Errorf("after it: got %q, %v", line, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

// What is no stream, or has no end, is an error, and takes no memory.
func TestMalformedStream(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	for text, want := range map[string]error{
		"\xff\xff\xff\xffx":   errPiece,
		"\x00\x04\x00\x01x":   errPiece,
		"\x00\x00":            io.ErrUnexpectedEOF,
		"":                    io.ErrUnexpectedEOF,
		"\x00\x00\x00\x05abc": io.ErrUnexpectedEOF,
	} {
		in := bufio.NewReader(iotest.OneByteReader(strings.NewReader(text)))
		if _, err := io.ReadAll(&joined{conn: there, in: in}); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

// The daemon has an instance's data for as long as root has granted it, and once.
func TestGrant(t *testing.T) {
	s, _ := quietServer(t, 0)
	root, daemon := unix.Ucred{}, unix.Ucred{Uid: 65534}
	snapshot := request{Verb: verbSnapshot, Service: "notes", Name: "alice"}
	pack := request{Verb: verbPack, Service: "notes", Name: "alice"}
	other := request{Verb: verbSnapshot, Service: "notes", Name: "bob"}
	try := func(step string, who unix.Ucred, r request, want bool) {
		t.Helper()
		if err := s.admitData(who, r); (err == nil) != want {
			t.Errorf("%s: %s of %s by uid %d: got %v, want it admitted: %t", step, r.Verb, r.id(), who.Uid, err, want)
		}
	}
	s.notes.dir = "/run/tenement-grant-test"
	t.Cleanup(func() { _ = removeTree(s.notes.dir) })
	try("before", root, snapshot, true)
	try("before", daemon, snapshot, false)
	try("before", daemon, request{Verb: verbGrant, Service: "notes", Name: "alice"}, false)
	try("before", daemon, request{Verb: verbWithdraw, Service: "notes", Name: "alice"}, false)
	if err := s.notes.grant(snapshot.id()); err != nil {
		t.Fatal(err)
	}
	try("granted", daemon, snapshot, true)
	try("granted", daemon, other, false)
	if err := s.notes.used(snapshot); err != nil {
		t.Fatal(err)
	}
	try("copied", daemon, pack, true)
	if err := s.notes.used(pack); err != nil {
		t.Fatal(err)
	}
	try("packed", daemon, snapshot, false)
}
