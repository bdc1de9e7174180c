package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

// doorbellVariable has this program answer a doorbell, at the path that it names, with
// connections to a web server of its own.
const doorbellVariable = "LIFECYCLE_TEST_DOORBELL"

// answerDoorbell is ten-init's and the app's part of a check.
func answerDoorbell(path string) error {
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(app, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "fine") }))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		return err
	}
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		go func() {
			call, err := ingress.ReadCall(conn)
			if err != nil {
				return
			}
			tcp, err := net.DialTCP("tcp", nil, app.Addr().(*net.TCPAddr))
			if err != nil {
				return
			}
			defer tcp.Close()
			_ = call.Answer(ingress.Answer{InitAt: 1, ReadyAt: 1}, tcp)
		}()
	}
}

// checkedDoorbell is a doorbell in memory, but for checks, which ring a real one.
type checkedDoorbell struct {
	lifecycle.Doorbell
	real   ingress.Doorbell
	checks *atomic.Int64
}

func (d checkedDoorbell) ProbeApp(ctx context.Context) (net.Conn, ingress.Answer, error) {
	defer d.checks.Add(1)
	conn, _, err := d.real.ProbeApp(ctx)
	if err != nil {
		return nil, ingress.Answer{}, err
	}
	answer, err := d.Do(ctx, ingress.Status) // the process that the Manager knows of
	return conn, answer, err
}

// BenchmarkChecks keeps 1,000 instances awake, whose health is checked over a real
// doorbell and connection, and tells what that costs this process, which is the daemon
// in it: per check, and of one core at the standard interval of 10 s.
func BenchmarkChecks(b *testing.B) {
	path := filepath.Join(b.TempDir(), "doorbell")
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), doorbellVariable+"="+path)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("the doorbell is not there")
		}
	}

	const instances, standard = 1000, 10 * time.Second
	systemd := lifecycletest.New()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { systemd.Run(ctx) })
	var checks atomic.Int64
	cfg := parse(b, "[settings]\ndata_dir = \"/nonexistent/data\"\nhealth_check_interval = 1\n"+
		"[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\nhealth = \"/health\"\n")
	m := lifecycle.New(lifecycle.Options{
		Config: cfg, Controller: systemd, Store: newStore(),
		Doorbell: func(id tenant.ID) lifecycle.Doorbell {
			return checkedDoorbell{systemd.Doorbell(id), ingress.Doorbell(path), &checks}
		},
		SocketDir: func(id tenant.ID) string { return "/run/" + id.Name },
		Log:       slog.New(slog.DiscardHandler),
	})
	wg.Go(func() { _ = m.Run(ctx) })
	defer func() {
		cancel()
		wg.Wait()
	}()
	<-m.Ready()
	for i := range instances {
		if _, _, err := m.Spawn(ctx, tenant.ID{Service: "notes", Name: fmt.Sprint("i", i)}); err != nil {
			b.Fatal(err)
		}
	}
	for checks.Load() < 2*instances { // each has had its first, with a trial
		time.Sleep(time.Millisecond)
	}
	b.ResetTimer()
	begun, spent := time.Now(), cpuTime(b)
	time.Sleep(time.Duration(b.N) * time.Second / instances) // each is checked once a second
	each := float64(cpuTime(b)-spent) / (time.Since(begun).Seconds() * instances)
	b.ReportMetric(0, "ns/op") // the schedule's, of no interest
	b.ReportMetric(each/1e3, "cpu-µs/check")
	b.ReportMetric(100*each*instances/float64(standard), "core-%/1000-awake")
	for _, s := range m.List() {
		if s.State != tenant.Awake || s.Health != tenant.Healthy {
			b.Fatalf("%s is %v, %s", s.ID, s.State, s.Health)
		}
	}
}

// cpuTime is what this process has spent, in user and system mode.
func cpuTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
