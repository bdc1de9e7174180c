// Command demo shows Tenement's main job for real: two tenants of the notes example, asleep
// and awake.
//
//	go run ./test/demo
//
// Where systemd runs, it uses that; elsewhere it boots a throwaway machine. With a
// terminal it stays up until Ctrl-C; without one it exits when the story is told,
// with status 1 if any step went wrong. Everything it started is gone afterwards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"tenement.dev/test/machine"
)

func main() {
	inside := flag.Bool("inside", false, "tell the story here and now (used by the demo itself)")
	stay := flag.Bool("stay", onTerminal(), "stay up until Ctrl-C when the story is told")
	port := flag.Int("port", 8080, "port to serve on")
	flag.Parse()
	ctx, stop := machine.UntilSignal()
	defer stop()
	code, err := run(ctx, *inside, *stay, *port)
	if *stay && ctx.Err() != nil {
		os.Exit(0) // ended by Ctrl-C, as it says
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(ctx context.Context, inside, stay bool, port int) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 1, err
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		return 1, err
	}
	if inside || usable() {
		s := &story{repo: repo, port: port, stay: stay, out: os.Stdout}
		return 0, s.tell(ctx)
	}
	return runInMachine(ctx, repo, stay, port)
}

// usable reports whether this machine's own systemd can be used: it runs, is new
// enough, and has no Tenement whose tenants could be confused with ours.
func usable() bool {
	if info, err := os.Lstat("/run/systemd/system"); err != nil || !info.IsDir() {
		return false
	}
	scope := "--system"
	if os.Geteuid() != 0 {
		scope = "--user"
	}
	out, err := exec.Command("systemctl", scope, "--version").Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		return false
	}
	version, _ := strconv.Atoi(fields[1])
	units, err := exec.Command("systemctl", scope, "list-units", "--all", "--plain", "--no-legend", "tenement-*").Output()
	return err == nil && version >= 252 && len(strings.TrimSpace(string(units))) == 0
}

// runInMachine tells the story in a throwaway machine and makes its port reachable
// from here.
func runInMachine(ctx context.Context, repo string, stay bool, port int) (code int, err error) {
	fmt.Println("systemd is not running here, so this boots a throwaway Debian machine that has it.")
	fmt.Println("(Its root is made from packages once, which takes a minute, and kept below /var/cache/tenement-test.)")
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	m, err := machine.Boot(ctx, machine.Options{Binds: []machine.Bind{{Host: repo}, {Host: filepath.Dir(self)}}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	argv := []string{self, "-inside", "-stay=" + strconv.FormatBool(stay), "-port=" + strconv.Itoa(port)}
	if stay {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return 1, fmt.Errorf("make the demo reachable: %w (choose another port: go run ./test/demo -port 8081)", err)
		}
		forwarding, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- m.Forward(forwarding, l, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) }()
		defer func() { stop(); err = errors.Join(err, <-done) }()
	}
	env := []string{"PATH=" + filepath.Join(repo, "bin") + ":" + machine.Path}
	return m.Run(ctx, repo, "root", env, argv...)
}

// onTerminal reports whether somebody is there to press Ctrl-C.
func onTerminal() bool {
	for _, f := range []*os.File{os.Stdin, os.Stdout} {
		info, err := f.Stat()
		if err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return false
		}
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil || name == os.DevNull {
			return false
		}
	}
	return true
}
