package hostile

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// config has the hostile tenant and its neighbour, each of another service.
const config = `
[service.app]
command = "{bin}/testapp"
[service.app.env]
SECRET = "of {id}"
[service.bad]
command = "{bin}/hostile"
stop_grace = 1
`

const (
	mallory = "bad:mallory"
	bob     = "app:bob"
)

// result is what the hostile tenant says of an attempt.
type result struct{ Err, Errno, Text string }

// try has the hostile tenant make an attempt.
func try(t *testing.T, s *harness.Server, what string, args ...string) result {
	t.Helper()
	return ask(t, s, mallory, "/try/"+what, args...)
}

func ask(t *testing.T, s *harness.Server, id, path string, args ...string) result {
	t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(args); i += 2 {
		q.Set(args[i], args[i+1])
	}
	text := s.Text(id, path+"?"+q.Encode())
	var r result
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Text == "no such attempt" || r.Text == "hello" {
		t.Fatalf("%s %v: got %s", path, args, text)
	}
	return r
}

// apart waits until ten-init has moved out of the part of an instance's cgroup that is the
// app's, in which it begins.
func apart(t *testing.T, s *harness.Server, id string) {
	t.Helper()
	first, err := strconv.Atoi(s.Show(id, "MainPID"))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(harness.Timeout); slices.Contains(pids(t, s, id, "app"), first); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the ten-init of %s does not move out", id)
		}
	}
}

// pids are the processes in a part of an instance's cgroup, as this machine numbers them.
func pids(t *testing.T, s *harness.Server, id, part string) (list []int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", s.Show(id, "ControlGroup"), part, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}
