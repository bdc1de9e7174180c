package hostile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// impatient has a short patience with the hostile tenant's answers.
const impatient = config + "request_timeout = 2\n"

// garbage are the answers that are none, by the path that asks for them, and the statuses
// that a client may get for them.
var garbage = map[string][]int{
	"garbage": {502}, "status": {502}, "statusword": {502}, "emptyline": {502}, "nothing": {502},
	"badlength": {502}, "hugelength": {502}, "twolengths": {502}, "nullheader": {502}, "upgrade": {502},
	// Their heads are in order; 0 is a connection that ends without an answer.
	"hugechunk": {200}, "badchunk": {200, 0}, "shortbody": {200, 0}, "lengthchunks": {200}, "folded": {200, 502}, "splitheader": {200},
	"smuggled": {200}, "version": {200},
	// And those without an end.
	"informational": {502, 504}, "headers": {502}, "longheader": {502}, "longstatus": {502}, "slow": {504}, "silent": {504},
}

func TestAnswersThatAreNone(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: impatient})
	s.Spawn(mallory, bob)
	for path, want := range garbage {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		// A connection that the answer before has left may be closed when it is used again:
		// then a GET is repeated, and a POST is not.
		method := http.MethodPost
		if want[0] != http.StatusBadGateway {
			method = http.MethodGet
		}
		resp, err := s.Do(ctx, method, mallory, "/"+path, "")
		cancel()
		found := false
		for _, status := range want {
			found = found || resp.Status == status
		}
		if !found {
			t.Errorf("%s: got %d %.80q %v, want one of %v", path, resp.Status, resp.Body, err, want)
		}
		if resp.Status == 200 && err == nil && (path == "shortbody" || path == "badchunk" || path == "hugechunk") {
			t.Errorf("%s: got the whole of %q, want it cut off", path, resp.Body)
		}
	}
	if strings.Contains(s.Log.String(), "smuggled") {
		t.Error("what it sent after its answer is in the daemon's log")
	}
	// A second answer is for nobody, neither at this tenant nor at its neighbour.
	for range 20 {
		for _, id := range []string{mallory, bob} {
			s.Fetch(mallory, "/smuggled")
			if got := s.Fetch(id, map[string]string{mallory: "/name", bob: "/health"}[id]); got.Header.Get("X-Smuggled") != "" || strings.Contains(got.Body, "smuggled") {
				t.Fatalf("%s: got %q, which was smuggled", id, got.Body)
			}
		}
	}
}

// Bodies without an end cost the daemon no more than their clients take.
func TestAnswersWithoutEnd(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: impatient})
	s.Spawn(mallory, bob)
	before, memory := descriptors(t, s), resident(t, s)
	for _, path := range []string{"body", "trailers", "chunkexts", "headers", "longheader", "informational", "slow", "silent"} {
		t.Run(path, func(t *testing.T) {
			compare(t, s, func() (over <-chan struct{}, end func()) {
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() { reluctantly(ctx, s, path) })
				}
				return nil, func() {
					cancel()
					wg.Wait()
				}
			})
		})
	}
	s.HTTP.CloseIdleConnections()
	deadline := time.Now().Add(harness.Timeout)
	for descriptors(t, s) > before+8 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if got := descriptors(t, s); got > before+8 {
		t.Errorf("descriptors of the daemon: got %d, %d before", got, before)
	}
	if got := resident(t, s); got > memory+100 {
		t.Errorf("memory of the daemon: got %d MB, %d before", got, memory)
	}
}

// reluctantly asks for an answer and takes a little of it at a time.
func reluctantly(ctx context.Context, s *harness.Server, path string) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, harness.Host(mallory))
		r := bufio.NewReader(conn)
		for ctx.Err() == nil {
			if _, err := io.CopyN(io.Discard, r, 64<<10); err != nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		conn.Close()
		time.Sleep(20 * time.Millisecond) // this is about answers, not about many requests
	}
}

// Whatever it leaves running, a stop ends.
func TestNothingSurvivesAStop(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: strings.Replace(config, "/hostile\"", "/hostile deaf\"", 1), Rootless: rootless})
			s.Spawn(mallory, bob)
			if r := try(t, s, "children", "n", "10"); r.Err != "" {
				t.Fatal(r.Err)
			}
			own := filepath.Join("/sys/fs/cgroup", s.Show(mallory, "ControlGroup"))
			if !rootless {
				awaitBound(t, own)
			}
			// It moves what it can to where ten-init is, makes cgroups of its own, and
			// freezes itself.
			for _, deep := range []string{"", "1"} {
				r := ask(t, s, mallory, "/attack/cgroups", "n", "200", "deep", deep, "ms", "5000")
				if !rootless && r.Errno != "EAGAIN" { // where both are one user's, there is no bound
					t.Errorf("200 cgroups: got %+v, want EAGAIN before long", r)
				}
			}
			apart(t, s, mallory)
			left := append(pids(t, s, mallory, "app"), pids(t, s, mallory, "init")...)
			if len(left) < 12 {
				t.Fatalf("processes: got %v, want the app, ten-init and ten more", left)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for _, group := range []string{"app", "init"} {
				_, _ = s.Do(ctx, http.MethodPost, mallory, "/try/write?path="+filepath.Join(own, group, "cgroup.freeze")+"&text=1", "")
			}
			cancel()
			begun := time.Now()
			if r := s.Ten("stop", mallory); r.Code != 0 {
				t.Errorf("stop: %s", r)
			}
			t.Logf("stopped in %v", time.Since(begun))
			if took := time.Since(begun); took > 15*time.Second { // stop_grace, and what the units are given beyond
				t.Errorf("the stop took %v", took)
			}
			for _, pid := range left {
				if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
					t.Errorf("still there: %.40s", stat)
				}
			}
			// After it the same instance starts as if nothing had been.
			if got := s.Text(mallory, "/name"); got != "mallory" {
				t.Errorf("after the stop: got %q", got)
			}
			if r := s.Ten("destroy", "--yes", mallory); r.Code != 0 {
				t.Errorf("destroy: %s", r)
			}
			if _, err := os.Stat(own); err == nil {
				t.Errorf("%s is still there", own)
			}
			if got := s.Text(bob, "/count"); got != "1" {
				t.Errorf("its neighbour: got count %s, want 1", got)
			}
		})
	}
}

// awaitBound waits until there is a bound to the cgroups that an instance can make, which the
// daemon sets when it hears that one is started.
func awaitBound(t *testing.T, group string) {
	t.Helper()
	for deadline := time.Now().Add(harness.Timeout); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(group, "cgroup.max.descendants"))
		if err == nil && string(text) != "max\n" {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("cgroup.max.descendants: got %q, %v, want a bound", text, err)
		}
	}
}

// Nothing of it goes on while it dozes, wherever in its cgroup it has put it.
func TestNothingOutlastsADoze(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: config, Rootless: rootless})
			s.Spawn(mallory, bob)
			if r := try(t, s, "children", "n", "5"); r.Err != "" {
				t.Fatal(r.Err)
			}
			own := filepath.Join("/sys/fs/cgroup", s.Show(mallory, "ControlGroup"))
			groups := []string{"evil", "evil/deep", "init", "init/deep"}
			for _, group := range groups {
				try(t, s, "mkdir", "path", filepath.Join(own, group))
			}
			moved := 0
			for i, process := range strings.Fields(try(t, s, "processes").Text) {
				pid, to := filepath.Base(process), filepath.Join(own, groups[i%len(groups)], "cgroup.procs")
				if pid != "1" && try(t, s, "write", "path", to, "text", pid).Err == "" {
					moved++
				}
			}
			if moved < 8 {
				t.Fatalf("it has moved %d processes, too few to tell anything", moved)
			}
			if r := s.Ten("doze", mallory); r.Code != 0 {
				t.Fatalf("doze: %s", r)
			}
			for _, group := range append(groups, "") {
				text, err := os.ReadFile(filepath.Join(own, group, "cgroup.procs"))
				if left := len(strings.Fields(string(text))); err != nil || group == "init" && left != 1 || group != "init" && left != 0 {
					t.Errorf("in %q: got %q, %v, want ten-init alone, in init", group, text, err)
				}
			}
			if events, err := os.ReadFile(filepath.Join(own, "app/cgroup.events")); err != nil || !strings.Contains(string(events), "frozen 1") {
				t.Errorf("got %q, %v, want app frozen", events, err)
			}
			if got := s.Text(mallory, "/name"); got != "mallory" {
				t.Errorf("after the doze: got %q", got)
			}
			// What it hides keeps it from a doze, not from a stop.
			hidden := fmt.Sprintf("cd %[1]s; sh -c 'echo $$ > evil/cgroup.procs; exec sleep 1000' >/dev/null 2>&1 & until [ -n \"$(cat evil/cgroup.procs)\" ]; do sleep 0.01; done; chmod 0 %[1]s/evil", own)
			try(t, s, "run", "command", hidden)
			if r := s.Ten("doze", mallory); r.Code == 0 {
				t.Errorf("with something hidden: %s, want it refused", r)
			}
			if got := s.Text(mallory, "/name"); got != "mallory" {
				t.Errorf("after a doze that was refused: got %q", got)
			}
			if r := s.Ten("stop", mallory); r.Code != 0 {
				t.Errorf("stop: %s", r)
			}
			if got := s.Text(bob, "/count"); got != "1" {
				t.Errorf("its neighbour: got count %s, want 1", got)
			}
		})
	}
}

// A neighbour's lines are not lost because somebody else writes without end.
func TestLogsOfTheNeighbour(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config})
	s.Spawn(mallory, bob)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Do(t.Context(), http.MethodPost, mallory, "/attack/logs?ms=2500&size=100", "")
	}()
	const lines = 300
	for i := range lines {
		s.Text(bob, fmt.Sprintf("/log?out=line-%d.&err=also-%d.", i, i))
	}
	<-done
	if out, err := s.Command("/usr/bin/journalctl", "--sync").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	got := s.Ten("logs", "--lines", "2000", bob).Stdout
	for i := range lines {
		for _, word := range []string{"line", "also"} {
			if !strings.Contains(got, fmt.Sprintf("%s-%d.", word, i)) {
				t.Fatalf("%s %d of the neighbour is not in its log, which has %d lines", word, i, strings.Count(got, "\n"))
			}
		}
	}
}
