package proxy

import (
	"bytes"
	"testing"
)

// frame makes a WebSocket frame with a payload of n bytes.
func frame(opcode byte, n int, masked bool) []byte {
	f := []byte{0x80 | opcode}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case n < 126:
		f = append(f, mask|byte(n))
	case n < 1<<16:
		f = append(f, mask|126, byte(n>>8), byte(n))
	default:
		f = append(f, mask|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if masked {
		f = append(f, 1, 2, 3, 4)
	}
	return append(f, bytes.Repeat([]byte{0x81}, n)...) // looks like the head of a text frame
}

func TestFramesTellDataFromHeartbeats(t *testing.T) {
	ping, pong, closing := frame(9, 4, true), frame(10, 125, false), frame(8, 2, true)
	heartbeats := bytes.Join([][]byte{ping, pong, frame(9, 0, false), closing}, nil)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 70000} {
		for _, masked := range []bool{false, true} {
			data := frame(2, size, masked)
			for _, chunk := range []int{1, 2, 3, 7, 1000, 1 << 20} {
				f := &frames{}
				if feed(f, heartbeats, chunk) {
					t.Fatalf("heartbeats in chunks of %d count as data", chunk)
				}
				if !feed(f, data, chunk) {
					t.Fatalf("a data frame of %d bytes, masked %v, in chunks of %d does not count", size, masked, chunk)
				}
				if feed(f, heartbeats, chunk) {
					t.Fatalf("heartbeats after a frame of %d bytes, masked %v, in chunks of %d count as data", size, masked, chunk)
				}
			}
		}
	}
}

func feed(f *frames, p []byte, chunk int) (found bool) {
	for len(p) > 0 {
		n := min(chunk, len(p))
		if f.data(p[:n]) {
			found = true
		}
		p = p[n:]
	}
	return found
}

func FuzzFrames(f *testing.F) {
	f.Add(frame(1, 300, true), 3)
	f.Fuzz(func(t *testing.T, p []byte, chunk int) {
		whole, parts := &frames{}, &frames{}
		if got, want := feed(parts, p, max(chunk, 1)), feed(whole, p, len(p)+1); got != want {
			t.Fatalf("in chunks of %d: got %v, at once %v", chunk, got, want)
		}
		if whole.left != parts.left || !bytes.Equal(whole.head, parts.head) {
			t.Fatal("the two are at different places")
		}
	})
}

func TestEventsTellDataFromComments(t *testing.T) {
	for _, test := range []struct {
		chunks []string
		want   bool
	}{
		{[]string{": ping\n\n"}, false},
		{[]string{":", " pi", "ng\n", "\n"}, false},
		{[]string{"\n\r\n\n"}, false},
		{[]string{"data: x\n\n"}, true},
		{[]string{": ping\n", "data: x\n"}, true},
		{[]string{": a: b\r", ": c\r\n"}, false},
		{[]string{"id"}, true},
	} {
		e := &events{lineStart: true}
		got := false
		for _, chunk := range test.chunks {
			got = e.data([]byte(chunk)) || got
		}
		if got != test.want {
			t.Errorf("%q: got %v, want %v", test.chunks, got, test.want)
		}
	}
}
