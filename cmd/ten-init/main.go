// Command ten-init is the first process of every instance. It holds the instance's
// doorbell, starts the app, waits until the app accepts connections, hands connected
// sockets to the daemon, freezes and thaws the app, forwards signals, reaps orphans
// and exits with the app's status. It runs with the instance's own rights and knows
// nothing of other instances.
//
//	ten-init [flags] -- PROGRAM [ARG ...]
//	ten-init [flags] -runsc PATH -bundle DIR
//
// With the second line the app is what the bundle says, within gVisor, where another ten-init
// is the first process.
//
// systemd starts it with the doorbell as descriptor 3 and a notification socket
// (sd_notify(3)); people have no reason to.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
)

// Exit codes of ten-init itself; otherwise it exits with the app's status, or 128
// plus the number of the signal that ended the app, as shells do, or
// ingress.ExitMemory.
const (
	exitUsage   = 64 // EX_USAGE, sysexits(3)
	exitTimeout = 124
	exitBusy    = 125
	exitExec    = 127
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == withinFlag {
		os.Exit(runWithin(os.Args[2:]))
	}
	started := ingress.Monotonic()
	guard()
	if len(os.Args) > 1 && os.Args[1] == shimFlag {
		execShim(os.Args[2:])
	}
	if len(os.Args) > 1 && os.Args[1] == secretsFlag {
		execSecrets(os.Args[2:])
	}
	if len(os.Args) > 1 && os.Args[1] == probeFlag {
		os.Exit(runProbe(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == probeSandboxFlag {
		os.Exit(runProbeSandbox(os.Args[2:]))
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ten-init:", err)
		os.Exit(exitUsage)
	}
	if o.secrets != "" {
		if err := takeSecrets(o.secrets); err != nil {
			fmt.Fprintln(os.Stderr, "ten-init:", err)
			os.Exit(exitUsage)
		}
	}
	doorbell, err := listener(3)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ten-init:", err)
		os.Exit(exitUsage)
	}
	// It does one thing after the other. With more, each that begins would wake threads
	// that look for what they could do, on processors that the app could have.
	runtime.GOMAXPROCS(1)
	os.Exit(newSupervisor(o, started).run(doorbell))
}

// guard keeps the app, which runs as the same user, away from this process's memory and
// descriptors: with /proc/1/mem it could have ten-init do and say whatever it likes
// (PR_SET_DUMPABLE, prctl(2); proc(5), "/proc/pid"). It ends with execve(2).
func guard() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// unguard takes that back for a sandboxed app, which sees no process of this kernel's:
// the user mapping of a process that is not dumpable can be written by root alone.
func unguard() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }

// options are the command line.
type options struct {
	listen         address
	startupTimeout time.Duration
	stopGrace      time.Duration
	fence          bool     // see inFence
	secrets        string   // see takeSecrets
	argv           []string // empty with a sandbox
	sandbox        *sandbox // nil without
}

func parse(args []string) (options, error) {
	var o options
	var ownPort bool
	var box sandbox
	flags := flag.NewFlagSet("ten-init", flag.ContinueOnError)
	flags.TextVar(&o.listen, "listen", address{}, "where the app listens: port:PORT, unix:PATH or fd:PATH")
	flags.BoolVar(&ownPort, "own-port", false, "only take for the app what listens on the port as this user, who runs nothing else")
	flags.BoolVar(&o.fence, "fence", false, "let the app bind no TCP port but that of -listen and those that the kernel chooses")
	flags.DurationVar(&o.startupTimeout, "startup-timeout", 10*time.Second, "time until the app must accept connections")
	flags.DurationVar(&o.stopGrace, "stop-grace", 10*time.Second, "time between SIGTERM and SIGKILL")
	flags.StringVar(&o.secrets, "secrets", "", "`names` of credentials that the app gets in its environment, with commas between")
	flags.StringVar(&box.runsc, "runsc", "", "`path` of gVisor's runsc, to run the bundle with")
	flags.StringVar(&box.bundle, "bundle", "", "`directory` of the app's OCI bundle")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	o.argv = flags.Args()
	if box != (sandbox{}) {
		if box.runsc == "" || box.bundle == "" || len(o.argv) > 0 || o.listen.kind == "fd" {
			return options{}, errors.New("-runsc and -bundle need each other, no program, and not -listen fd")
		}
		box.sockets = o.listen.kind == "unix"
		o.sandbox = &box
	} else if len(o.argv) == 0 {
		return options{}, errors.New("no program given")
	}
	if o.listen.kind == "" {
		return options{}, errors.New("no -listen given")
	}
	if ownPort && o.listen.kind != "port" {
		return options{}, errors.New("-own-port needs -listen port:PORT")
	}
	o.listen.own = ownPort
	return o, nil
}

// listener makes a listener of an inherited descriptor. It is taken as given:
// $LISTEN_PID is wrong inside PrivatePIDs= before systemd 259.
func listener(fd uintptr) (*net.UnixListener, error) {
	file := os.NewFile(fd, "doorbell")
	if file == nil {
		return nil, fmt.Errorf("descriptor %d is not open: ten-init is started by systemd", fd)
	}
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is no doorbell: %w", fd, err)
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("descriptor %d is no Unix socket", fd)
	}
	// The socket's path belongs to systemd.
	ul.SetUnlinkOnClose(false)
	return ul, nil
}
