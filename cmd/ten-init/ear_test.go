package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// What is behind the fence listens as ever, children's children too, and is heard.
func TestEar(t *testing.T) {
	port := number(freePort(t))
	cmd := exec.Command("/usr/bin/python3", "-c", `
import os, socket, sys
def serve(s):
    s.listen()
    print("listens", flush=True)
    sys.stdin.readline()
s = socket.socket()
s.bind(("127.0.0.1", int(sys.argv[1])))
sys.stdin.readline()
serve(s)
if os.fork() == 0:
    serve(s)
    serve(socket.socket())
    os._exit(0)
os.wait()
`, strconv.Itoa(port))
	cmd.Stderr = os.Stderr
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	e, err := inFence(port, true, cmd.Start)
	if err != nil {
		t.Fatal(err)
	}
	if e == nil {
		t.Fatal("no ear: this test needs Linux 5.19, and nobody that listens to seccomp already")
	}
	select {
	case <-e.heard:
		t.Error("heard it before it listened")
	default:
	}
	lines := bufio.NewReader(stdout)
	for range 3 {
		if _, err := io.WriteString(stdin, "\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-e.heard:
		case <-time.After(20 * time.Second):
			t.Fatal("not heard")
		}
		if line, err := lines.ReadString('\n'); line != "listens\n" || err != nil {
			t.Fatalf("got %q, %v: it cannot listen", line, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := address{kind: "port", port: port}.dial(ctx, &app{ear: e}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	select {
	case <-e.done:
	case <-time.After(20 * time.Second):
		t.Error("the ear did not end with whom it hears")
	}
}

func TestPauses(t *testing.T) {
	const ms = time.Millisecond
	for since, want := range map[time.Duration]time.Duration{ms / 10: heardInterval, 2 * ms: retryInterval} {
		if got := heardPause(since); got != want {
			t.Errorf("heard %v ago: got %v, want %v", since, got, want)
		}
	}
	for passed, want := range map[time.Duration]time.Duration{ms: deafPause, 2000 * ms: 500 * ms} {
		if got := deaf(passed); got != want {
			t.Errorf("deaf for %v: got %v, want %v", passed, got, want)
		}
	}
	for _, c := range []struct{ ran, waited, since, passed, plenty, want time.Duration }{
		{ms, 0, ms, 40 * ms, ms, ms},                    // it has a processor
		{0, 0, ms, 40 * ms, ms, ms},                     // it wants none
		{ms, ms, 2 * ms, 40 * ms, ms, 4 * ms},           // it has half of one
		{ms, 9 * ms, 10 * ms, 40 * ms, ms, 10 * ms},     // a tenth, for the while that it is at it
		{ms, 9 * ms, 10 * ms, 400 * ms, ms, 20 * ms},    // a tenth
		{0, 20 * ms, 20 * ms, 4000 * ms, ms, toilPause}, // nothing of one
		{0, 20 * ms, 20 * ms, 4000 * ms, 99 * ms, 99 * ms},
	} {
		if got := toilsomePause(c.ran, c.waited, c.since, c.passed, c.plenty); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	for text, want := range map[string][2]time.Duration{"5 7 2\n": {5, 7}, "": {}, "0 0 0\n": {}, "x y": {}} {
		if run, wait := parseToil([]byte(text)); run != want[0] || wait != want[1] {
			t.Errorf("%q: got %v, %v, want %v", text, run, wait, want)
		}
	}
	for passed, want := range map[time.Duration]time.Duration{ms: retryInterval, 16 * ms: retryInterval, 320 * ms: 10 * ms} {
		if got := pause(passed); got != want {
			t.Errorf("after %v: got %v, want %v", passed, got, want)
		}
	}
}
