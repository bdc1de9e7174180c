package main

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// fullBacklog listens on a port with room for nobody more, and gives a function that makes
// room.
func fullBacklog(t *testing.T) (a address, accept func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = syscall.Listen(fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	a = address{kind: "port", port: port, network: "tcp4"}
	for {
		conn, _, err := a.knock(true)
		if err != nil {
			break
		}
		t.Cleanup(func() { conn.Close() })
	}
	return a, func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
		}
	}
}

// An app with a full backlog is waited for as long as it takes others, and no longer.
func TestCrowd(t *testing.T) {
	a, accept := fullBacklog(t)
	c := newCrowd()
	c.patience = 300 * time.Millisecond
	begun := time.Now()
	if conn, err := a.dialAgain(t.Context(), c); err == nil {
		conn.Close()
		t.Fatal("there is room: the test proves nothing")
	}
	if took := time.Since(begun); took < c.patience {
		t.Errorf("gave up after %v, want %v", took, c.patience)
	}

	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() { // others
		defer close(stopped)
		for {
			c.accepted()
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	done := make(chan error, 1)
	go func() {
		conn, err := a.dialAgain(t.Context(), c)
		if err == nil {
			conn.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("gave up although others were taken: %v", err)
	case <-time.After(4 * c.patience):
		accept()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
}

// So many try at a time; who waits for a place gives up as they do.
func TestCrowdPlaces(t *testing.T) {
	c := newCrowd()
	c.patience = time.Millisecond
	for n := range crowdPlaces {
		if !c.enter(t.Context(), time.Now()) {
			t.Fatalf("there is no place for number %d", n+1)
		}
	}
	if c.enter(t.Context(), time.Now()) {
		t.Errorf("there is a place for number %d", crowdPlaces+1)
	}
	c.patience = time.Minute
	entered := make(chan bool, 1)
	go func() { entered <- c.enter(t.Context(), time.Now()) }()
	c.leave()
	if !<-entered {
		t.Error("a place that was given back is not used")
	}
}
