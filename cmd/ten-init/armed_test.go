package main

import (
	"bufio"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
)

// startArmed starts ten-init for a call that arms it, and gives what it told systemd.
func startArmed(t *testing.T, mode, kind string) (i *instance, told func() string) {
	t.Helper()
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	i = startFor(t, []ingress.Verb{ingress.Arm}, mode, kind, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+notify.LocalAddr().String())
	})
	answer, err := bufio.NewReader(i.calls[0]).ReadString('\n')
	i.calls = nil
	if err != nil || !strings.HasSuffix(answer, " armed=1\n") {
		t.Fatalf("arm: got %q, %v", answer, err)
	}
	return i, func() string {
		notify.SetReadDeadline(time.Now().Add(bound))
		buf := make([]byte, 1024)
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// An armed app is not started by anything but a call that wants it awake, and then as
// any other.
func TestArmed(t *testing.T) {
	for _, kind := range []string{"port", "unix", "fd"} {
		t.Run(kind, func(t *testing.T) {
			mode := "slow"
			if kind == "fd" {
				mode = "fd"
			}
			i, told := startArmed(t, mode, kind)
			if got, want := told(), "READY=1\nSTATUS="+armedStatus; got != want {
				t.Errorf("systemd was told %q, want %q", got, want)
			}
			var before ingress.Answer
			for _, verb := range []ingress.Verb{ingress.Status, ingress.Arm, ingress.Probe} {
				var err error
				if before, err = i.do(verb); err != nil || !before.Armed || before.ReadyAt != 0 {
					t.Errorf("%s: got %+v, %v", verb, before, err)
				}
			}
			if _, err := i.do(ingress.Doze); err == nil {
				t.Error("an armed app dozes")
			}
			if got := i.children(); len(got) > 0 {
				t.Errorf("got children %v before anybody wants the app", got)
			}
			if _, _, err := i.get(); err != nil {
				t.Fatal(err)
			}
			if got, want := told(), "READY=1\nSTATUS="; got != want {
				t.Errorf("systemd was told %q, want %q", got, want)
			}
			for _, verb := range []ingress.Verb{ingress.Status, ingress.Arm} {
				if got, err := i.do(verb); err != nil || got.Armed || got.ReadyAt == 0 || got.InitAt != before.InitAt {
					t.Errorf("%s of one that runs: got %+v, %v", verb, got, err)
				}
			}
		})
	}
}

func TestArmedThatFails(t *testing.T) {
	i, _ := startArmed(t, "exit", "port")
	i.refused(ingress.ClassExited, "exit status 3")
	if got := i.ends(); got != 3 {
		t.Errorf("got exit code %d, want the app's", got)
	}
	i, _ = startArmed(t, "hang", "port")
	i.refused(ingress.ClassTimeout, "within 3s")
	if got := i.ends(); got != exitTimeout {
		t.Errorf("got exit code %d, want %d", got, exitTimeout)
	}
}

// An armed one hears the keeper's SIGINT, too: systemd's SIGTERM may have been lost.
func TestStopOfArmed(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		i, told := startArmed(t, "slow", "port")
		told()
		if err := i.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := told(); got != "STOPPING=1" {
			t.Errorf("%v: systemd was told %q", sig, got)
		}
		if got := i.ends(); got != 0 {
			t.Errorf("%v: got exit code %d, want 0", sig, got)
		}
	}
}
