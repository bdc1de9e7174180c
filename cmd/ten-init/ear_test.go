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
	conn, err := address{kind: "port", port: port}.dial(ctx, e)
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

func TestHeardPause(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ passed, since, want time.Duration }{
		{1 * ms, 0, deafPause},
		{2000 * ms, 0, 500 * ms},
		{40 * ms, ms / 10, heardInterval},
		{40 * ms, 2 * ms, retryInterval},
		{200 * ms, 100 * ms, 50 * ms}, // it was another socket's
	} {
		if got := heardPause(c.passed, c.since); got != c.want {
			t.Errorf("after %v, heard %v ago: got %v, want %v", c.passed, c.since, got, c.want)
		}
	}
}
