package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// commandTimeout bounds a command, which may do much at once, and whole one test.
	commandTimeout = 2 * time.Minute
	whole          = 5 * time.Minute
	// reportTimeout bounds the looks at what hangs.
	reportTimeout = 10 * time.Second
)

// bound ends this process, and says what hangs, when the test takes longer than d: the
// limit of all tests together would tell neither the test nor what the daemon is at.
func (s *Server) bound(d time.Duration) {
	timer := time.AfterFunc(d, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s has not ended after %v\n%s", s.tb.Name(), d, s.hung()))
	})
	s.tb.Cleanup(func() { timer.Stop() })
}

// run runs a command to its end, and fails the test if that does not come.
func (s *Server) run(cmd *exec.Cmd) error {
	s.tb.Helper()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(commandTimeout):
	}
	report := s.hung()
	_ = cmd.Process.Kill() // what cannot be killed is left behind
	select {
	case <-ended:
	case <-time.After(reportTimeout):
	}
	s.tb.Fatalf("%s has not ended after %v\nstdout: %v\nstderr: %v\n%s", strings.Join(cmd.Args, " "), commandTimeout, cmd.Stdout, cmd.Stderr, report)
	return nil
}

// output is run that gives what the command prints.
func (s *Server) output(cmd *exec.Cmd) (string, error) {
	s.tb.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := s.run(cmd)
	return out.String(), err
}

// hung tells what the daemon's goroutines and the machine's processes are at. The daemon
// ends with that.
func (s *Server) hung() string {
	var report strings.Builder
	fmt.Fprintf(&report, "the machine:\n%s", processes())
	switch {
	case s.unit:
		unit := s.daemon + ".service"
		for _, argv := range [][]string{
			{"systemctl", "kill", "--kill-whom=main", "--signal=QUIT", unit},
			{"journalctl", "--sync"},
			{"journalctl", "--no-pager", "--output=cat", "--lines=2000", "-u", unit},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
			out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
			cancel()
			fmt.Fprintf(&report, "%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	case s.cmd != nil:
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-s.ended:
		case <-time.After(reportTimeout):
			report.WriteString("the daemon does not end on SIGQUIT\n")
		}
		fmt.Fprintf(&report, "the daemon's log:\n%s", s.Log)
	}
	return report.String()
}

// kernelThread is the flag of the kernel's own (PF_KTHREAD of linux/sched.h).
const kernelThread = 0x200000

// processes lists the memory and the processes of the machine, and where in the kernel
// those are that nothing can wake.
func processes() string {
	var list strings.Builder
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, _, _ := strings.Cut(line, ":"); name == "MemFree" || name == "MemAvailable" || name == "SwapFree" {
				list.WriteString(line)
			}
		}
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		// The program's name, in parentheses, may have any character (proc_pid_stat(5)).
		head, tail := string(text), ""
		if at := strings.LastIndex(head, ") "); at >= 0 {
			head, tail = head[:at+1], head[at+2:]
		}
		fields := strings.Fields(tail)
		if len(fields) < 7 {
			continue
		}
		state := fields[0]
		if flags, err := strconv.ParseUint(fields[6], 10, 64); err == nil && flags&kernelThread != 0 && state != "D" {
			continue
		}
		where, _ := os.ReadFile(filepath.Join(dir, "wchan"))
		fmt.Fprintf(&list, "%s %s %s\n", head, state, where)
		if state == "D" {
			stack, _ := os.ReadFile(filepath.Join(dir, "stack"))
			list.Write(stack)
		}
	}
	return list.String()
}
