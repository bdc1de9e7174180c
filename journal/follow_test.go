package journal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// take follows until n messages of the unit itself have come.
func take(t *testing.T, r *Reader, q Query, n int) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	q.Follow = true
	for e, err := range r.Read(ctx, q) {
		if err != nil {
			t.Errorf("after %q: %v", got, err)
			break
		}
		if e.Manager {
			continue
		}
		if got = append(got, e.Message); len(got) == n {
			break
		}
	}
	wantNoChildren(t)
	return got
}

// From now on means from the call on, even if journalctl takes its time to come up: here
// the line is written before it does.
func TestFollowFromNow(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, "echo old")
	r := New(System)
	r.command = filepath.Join(t.TempDir(), "slow-journalctl")
	script := fmt.Sprintf(`#!/bin/sh
systemd-run --quiet --wait --collect --unit=%s bash -c 'echo new; echo newer'
journalctl --sync
exec journalctl "$@"`, unit)
	if err := os.WriteFile(r.command, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, want := take(t, r, Query{Unit: unit}, 2), []string{"new", "newer"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The stored lines come first, then the new ones of a unit that starts anew.
func TestFollowAfterStored(t *testing.T) {
	want := []string{"17", "18", "19", "20", "new 1", "new 2"}
	for name, query := range map[string]func(all []Entry, i int) Query{ // from entry i on
		"lines":            func(all []Entry, i int) Query { return Query{Lines: len(all) - i} },
		"since and lines":  func(all []Entry, i int) Query { return Query{Lines: len(all) - i, Since: all[0].Time} },
		"after a cursor":   func(all []Entry, i int) Query { return Query{AfterCursor: all[i-1].Cursor} },
		"cursor and lines": func(all []Entry, i int) Query { return Query{AfterCursor: all[i-1].Cursor, Lines: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			unit := unitFor(t)
			runUnit(t, unit, "for i in $(seq 20); do echo $i; done")
			all := read(t, Query{Unit: unit, Lines: -1})
			q := query(all, slices.IndexFunc(all, func(e Entry) bool { return e.Message == "17" }))
			q.Unit, q.Follow = unit, true
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var got []string
			for e, err := range New(System).Read(ctx, q) {
				if err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				if e.Manager {
					continue
				}
				if got = append(got, e.Message); e.Message == "20" {
					startUnit(t, unit, "echo new 1; echo new 2")
				}
				if len(got) == len(want) {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			wantNoChildren(t)
		})
	}
}

// What happens to the child, to journald and to the journal's files while a follower
// reads costs it no line and shows it none twice.
func TestFollowSurvives(t *testing.T) {
	const lines = 200
	for name, disturb := range map[string]func(t *testing.T){
		"kill journalctl": func(t *testing.T) {
			pids := children(t)
			if len(pids) != 1 {
				t.Errorf("got children %v, want one", pids)
			}
			for _, pid := range pids {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		},
		"rotate":           func(t *testing.T) { run(t, "journalctl", "--rotate") },
		"restart journald": restartJournald,
	} {
		t.Run(name, func(t *testing.T) {
			unit := strings.ReplaceAll(unitFor(t), " ", "-")
			startUnit(t, unit, fmt.Sprintf("for i in $(seq %d); do echo $i; sleep 0.005; done", lines))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			next := 1
			for e, err := range New(System).Read(ctx, Query{Unit: unit, Lines: -1, Follow: true}) {
				if err != nil {
					t.Fatalf("after line %d: %v", next-1, err)
				}
				if e.Manager {
					continue
				}
				if e.Message != strconv.Itoa(next) {
					t.Fatalf("got line %q, want %d", e.Message, next)
				}
				if next%100 == 50 {
					disturb(t)
				}
				if next++; next > lines {
					break
				}
			}
			wantNoChildren(t)
		})
	}
}

// A follower whose journalctl cannot be kept alive says so in the end.
func TestFollowGivesUp(t *testing.T) {
	r := New(System)
	r.command, r.backoff = "/bin/true", time.Millisecond
	_, err := first(t.Context(), r, Query{Unit: unitFor(t), Follow: true})
	if err == nil || !strings.Contains(err.Error(), "does not keep following") {
		t.Errorf("got %v, want it to give up", err)
	}
}

func TestFollowEnds(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, "echo hello")

	t.Run("with its context, while it waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			var last error
			for _, err := range New(System).Read(ctx, Query{Unit: unit, Follow: true}) {
				last = err
			}
			ended <- last
		}()
		eventually(t, "journalctl to run", func() bool { return len(children(t)) == 1 })
		cancel()
		select {
		case err := <-ended:
			if err != context.Canceled {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
		wantNoChildren(t)
	})
	t.Run("with its context, in the middle", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, err := range New(System).Read(ctx, Query{Unit: unit, Lines: -1, Follow: true}) {
			last = err
			cancel()
		}
		if last != context.Canceled {
			t.Errorf("got %v, want %v", last, context.Canceled)
		}
		wantNoChildren(t)
	})
	t.Run("by a panic of the consumer", func(t *testing.T) {
		defer func() {
			if got := recover(); got != "consumer" {
				t.Errorf("got panic %v", got)
			}
			wantNoChildren(t)
		}()
		for range New(System).Read(t.Context(), Query{Unit: unit, Lines: -1, Follow: true}) {
			panic("consumer")
		}
	})
}

// kill -9 of the daemon leaves no journalctl behind.
func TestFollowerOfAKilledProcess(t *testing.T) {
	unit := unitFor(t)
	cmd := exec.CommandContext(t.Context(), program(t))
	cmd.Env = append(os.Environ(), roleEnv+"=read-system", argumentEnv+fmt.Sprintf(`={"Unit":%q,"Follow":true}`, unit))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var follower string
	eventually(t, "journalctl to run", func() bool {
		out, _ := exec.Command("pgrep", "--parent", strconv.Itoa(cmd.Process.Pid), "journalctl").Output()
		follower = strings.TrimSpace(string(out))
		return follower != ""
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	eventually(t, "journalctl to end", func() bool {
		name, err := os.ReadFile(filepath.Join("/proc", follower, "comm"))
		return err != nil || string(name) != "journalctl\n"
	})
}
