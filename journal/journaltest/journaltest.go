package journaltest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// remote is where Debian puts it; it is no command for people.
const remote = "/usr/lib/systemd/systemd-journal-remote"

// Word is what one line in RareEvery of each tenant has, and none else.
const Word = "Pomegranate"

// Options say what a journal has in it.
type Options struct {
	// Tenants is how many services write, Entries how many lines in all.
	Tenants, Entries int
	// RareEvery is after how many lines a tenant writes Word. It must be positive.
	RareEvery int
	// From and To bound the time of the entries, which are evenly spread.
	From, To time.Time
	// Files is how many files they are in, one after the other in time, as journald leaves
	// them when it rotates.
	Files int
}

// Unit is the name of a tenant's unit, from 0 on.
func Unit(i int) string { return fmt.Sprintf("tenement-notes@t%04d.service", i) }

// Busiest is the tenant who writes one line in Share.
const (
	Busiest = 0
	Share   = 20
)

// Write makes the journal's files in an existing directory, by as many processes at a
// time as there are processors.
func Write(ctx context.Context, dir string, o Options) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for file := range o.Files {
		group.Go(func() error {
			return writeFile(ctx, filepath.Join(dir, fmt.Sprintf("part-%02d.journal", file)), o, file)
		})
	}
	return group.Wait()
}

func writeFile(ctx context.Context, path string, o Options, file int) error {
	cmd := exec.CommandContext(ctx, remote, "--output="+path, "--split-mode=none", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("write a journal: %w", err)
	}
	w := bufio.NewWriterSize(in, 1<<20)
	err = export(w, o, file)
	if err == nil {
		err = w.Flush()
	}
	in.Close()
	if ended := cmd.Wait(); ended != nil {
		return fmt.Errorf("write a journal: %w: %s", ended, complaint.String())
	}
	return err
}

var (
	methods = []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	paths   = []string{"/", "/notes", "/notes/%d", "/static/app.%d.js", "/api/v2/notes/%d/attachments", "/search?q=%d", "/login"}
	words   = strings.Fields(`cache miss for key user session opened closed by worker queue drained in background job
		retry attempt scheduled database connection pool exhausted waiting slow query took rows returned template
		rendered mail sent to subscriber webhook delivered payload accepted rejected signature verified token refreshed`)
)

// export writes the entries of one file, oldest first.
func export(w io.Writer, o Options, file int) error {
	random := rand.New(rand.NewPCG(7, uint64(file)))
	written := make([]int, o.Tenants)
	step := o.To.Sub(o.From) / time.Duration(o.Entries)
	begun := o.From.UnixMicro()
	for n := o.Entries * file / o.Files; n < o.Entries*(file+1)/o.Files; n++ {
		tenant := Busiest
		if n%Share != 0 {
			tenant = random.IntN(o.Tenants)
		}
		written[tenant]++
		at := o.From.Add(time.Duration(n) * step).UnixMicro()
		level := 6
		if random.IntN(50) == 0 {
			level = 3 + random.IntN(2)
		}
		if _, err := fmt.Fprintf(w, `__REALTIME_TIMESTAMP=%d
__MONOTONIC_TIMESTAMP=%d
_BOOT_ID=3915cf1780224a9d93a6a82d3ca12665
_MACHINE_ID=0123456789abcdef0123456789abcdef
_HOSTNAME=server
_TRANSPORT=stdout
_STREAM_ID=%032x
_SYSTEMD_UNIT=%[4]s
_SYSTEMD_CGROUP=/tenement.slice/%[4]s
_SYSTEMD_SLICE=tenement.slice
_SYSTEMD_INVOCATION_ID=%032[5]x
SYSLOG_IDENTIFIER=notes:t%04[5]d
_UID=%[6]d
_GID=%[6]d
_PID=%[7]d
_COMM=python3
_EXE=/usr/bin/python3.13
_CMDLINE=python3 app.py
_CAP_EFFECTIVE=0
PRIORITY=%[8]d
MESSAGE=%[9]s

`, at, at-begun+1e6, tenant+1, Unit(tenant), tenant, 500000+tenant, 1000+tenant*7+written[tenant]/500, level,
			message(random, level, written[tenant]%o.RareEvery == 0)); err != nil {
			return err
		}
	}
	return nil
}

// message is a line as apps write them: of a request, or of what they do.
func message(random *rand.Rand, level int, rare bool) string {
	var b strings.Builder
	if random.IntN(3) > 0 && level == 6 {
		path := paths[random.IntN(len(paths))]
		if strings.Contains(path, "%d") {
			path = fmt.Sprintf(path, random.IntN(1e6))
		}
		fmt.Fprintf(&b, `10.%d.%d.%d - - "%s %s HTTP/1.1" %d %d %dms`, random.IntN(256), random.IntN(256), random.IntN(256),
			methods[random.IntN(len(methods))], path, 200+random.IntN(5), random.IntN(1e5), random.IntN(300))
	} else {
		fmt.Fprintf(&b, "request %016x:", random.Uint64())
		for range 4 + random.IntN(40) {
			b.WriteString(" " + words[random.IntN(len(words))])
		}
	}
	if rare {
		b.WriteString(" " + Word)
	}
	return b.String()
}
