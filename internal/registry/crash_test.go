package registry

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// writerEnv makes the test binary a writer to the registry at its value.
const writerEnv = "TENEMENT_TEST_REGISTRY_WRITER"

// writeForever registers t0, t1, … and counts their wakes; once a step is acknowledged
// by the registry it prints the step's number.
func writeForever(path string) {
	ctx := context.Background()
	r, err := Open(ctx, path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	list, err := r.Instances(ctx)
	for i := len(list); err == nil; i++ {
		in := Instance{ID: id("notes", fmt.Sprintf("t%d", i)), Port: 10000 + i}
		if _, err = r.Add(ctx, in); err != nil {
			break
		}
		in.Wakes = int64(i + 1)
		if err = r.SaveActivity(ctx, []Instance{in}); err == nil {
			fmt.Println(i)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := newPath(t)
	for round, steps := range []int{0, 1, 2, 10, 37, 80, 150} { // 0: killed while it opens
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		last := -1
		for range steps {
			if !lines.Scan() {
				t.Fatalf("round %d: the writer ended by itself", round)
			}
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatalf("round %d: the writer says %q", round, lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // acknowledged before the kill, read after it
			fmt.Sscan(lines.Text(), &last)
		}
		cmd.Wait()

		r, err := Open(t.Context(), path) // checks the whole file
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := map[string]Instance{}
		for _, in := range mustList(t, r) {
			got[in.ID.Name] = in
		}
		for i := range last + 1 {
			name := fmt.Sprintf("t%d", i)
			in, ok := got[name]
			if !ok || in.Port != 10000+i || in.Wakes != int64(i+1) {
				t.Errorf("round %d: %s: got %+v, %v, want port %d and %d wakes", round, name, in, ok, 10000+i, i+1)
			}
		}
		// The last step may be stored without its acknowledgement, or half: it is two writes.
		if n := len(got); n > last+2 {
			t.Errorf("round %d: got %d instances, want %d or one more", round, n, last+1)
		}
		if n := len(got); n > 0 { // complete the half step, so that the next round can count on it
			in := Instance{ID: id("notes", fmt.Sprintf("t%d", n-1)), Wakes: int64(n)}
			if err := r.SaveActivity(t.Context(), []Instance{in}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
