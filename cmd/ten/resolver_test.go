package main

import (
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameserver answers with a code and, where that is success, the texts of the one name.
func nameserver(t *testing.T, name string, code dnsmessage.RCode, texts ...string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RCode: code}
			m.Additionals = nil
			if q.Name.String() == name && q.Type == dnsmessage.TypeTXT {
				for _, text := range texts {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
						Body:   &dnsmessage.TXTResource{TXT: strings.SplitAfter(text, "/")},
					})
				}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func TestLookupTXT(t *testing.T) {
	for _, test := range []struct {
		code  dnsmessage.RCode
		texts []string
		fails string
	}{
		{dnsmessage.RCodeSuccess, []string{"in/two/parts", "one"}, ""},
		{dnsmessage.RCodeSuccess, nil, ""},
		{dnsmessage.RCodeNameError, nil, ""},
		{dnsmessage.RCodeRefused, nil, "server misbehaving"},
	} {
		address := nameserver(t, "_tenement.a.example.", test.code, test.texts...)
		got, err := lookupTXT(func() string { return address })(t.Context(), "_tenement.a.example")
		slices.Sort(got)
		if !slices.Equal(got, test.texts) || (err != nil) != (test.fails != "") {
			t.Errorf("%v: got %q, %v, want %q", test.code, got, err, test.texts)
		}
		if err != nil && err.Error() != "ask "+address+": "+test.fails {
			t.Errorf("%v: got %q", test.code, err)
		}
	}
}
