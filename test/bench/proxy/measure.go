package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenement.dev/test/bench/platform"
)

// sample is what one client has seen.
type sample struct {
	rate float64       // requests or bytes a second
	p99  time.Duration // 0 where that is not measured
}

// a client asks a peer for a while.
type client func(ctx context.Context, g *group, p peer, each time.Duration) (sample, error)

// testCase is a kind of request.
type testCase struct {
	name   string
	unit   string
	rounds int // at most so many, 0 for as many as there are
	needs  func(p peer) bool
	ask    client
	// prepare, if it is not nil, is done before.
	prepare func(ctx context.Context, g *group) error
}

func all(peer) bool          { return true }
func speaksTLS(p peer) bool  { return p.tls }
func speaksHTTP(p peer) bool { return p.http }
func knowsNames(p peer) bool { return p.http && p.port != 0 }

var cases = []testCase{
	{"GET, 32 connections", "requests/s", 0, all, wrk(32, "/"), nil},
	{"GET, 256 connections", "requests/s", 0, all, wrk(256, "/"), nil},
	{"GET of 10 KB, 32 connections", "requests/s", 0, all, wrk(32, "/10k"), nil},
	{"GET of 1 MB, 32 connections", "requests/s", 3, all, wrk(32, "/1m"), nil},
	{"GET, a new connection each, 32 at a time", "requests/s", 3, all, wrk(32, "/", "-H", "Connection: close"), nil},
	{"GET over TLS, 32 connections", "requests/s", 3, speaksTLS, wrkTLS(32, "/"), nil},
	{"GET over HTTP/2, 8 connections with 8 streams", "requests/s", 3, speaksTLS, h2load, nil},
	{"1 GB to the client", "bytes/s", 3, all, curl("/1g"), nil},
	{"1 GB from the client", "bytes/s", 3, all, upload, nil},
	{"WebSocket, 32 connections", "messages/s", 3, speaksHTTP, echoes(32), nil},
	// The last one: it leaves the crowd awake.
	{crowdCase, "requests/s", 3, knowsNames, askCrowd, wakeCrowd},
}

// address is where to ask a peer.
func (g *group) address(p peer, over int) string {
	if p.port == 0 {
		return g.backend
	}
	return local(p.port + over)
}

// echoAddress is where to ask a peer for what is at echoPaths.
func (g *group) echoAddress(p peer) string {
	switch p.name {
	case backendAlone:
		return g.echo
	case socketProxy:
		return local(p.port + byName)
	}
	return local(p.port)
}

// wrk asks with one thread and so many connections.
func wrk(connections int, path string, more ...string) client {
	return func(ctx context.Context, g *group, p peer, each time.Duration) (sample, error) {
		return runWrk(ctx, connections, each, "http://"+g.address(p, 0)+path, more...)
	}
}

func wrkTLS(connections int, path string) client {
	return func(ctx context.Context, g *group, p peer, each time.Duration) (sample, error) {
		return runWrk(ctx, connections, each, "https://"+net.JoinHostPort(host, strconv.Itoa(p.port+tls))+path)
	}
}

func runWrk(ctx context.Context, connections int, each time.Duration, url string, more ...string) (sample, error) {
	// Less than a second is for tests: wrk counts in whole ones.
	seconds := max(1, int(each.Round(time.Second).Seconds()))
	args := append([]string{"-t", "1", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(seconds) + "s", "--latency", "-H", "Host: " + host}, more...)
	out, err := output(ctx, each+stepTimeout, "wrk", append(args, url)...)
	if err != nil {
		return sample{}, err
	}
	return parseWrk(out)
}

var (
	wrkRate = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)$`)
	wrkP99  = regexp.MustCompile(`(?m)^\s+99%\s+([\d.]+)(us|ms|s|m)$`)
	wrkBad  = regexp.MustCompile(`(?m)^\s+(Non-2xx.*|Socket errors:.*)$`)
)

func parseWrk(out string) (sample, error) {
	rate, p99 := wrkRate.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out)
	if bad := wrkBad.FindString(out); bad != "" && !onlyReads(bad) {
		return sample{}, fmt.Errorf("wrk tells of errors: %s", strings.TrimSpace(bad))
	}
	if rate == nil || p99 == nil {
		return sample{}, fmt.Errorf("wrk says\n%s", out)
	}
	perSecond, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return sample{}, err
	}
	d, err := time.ParseDuration(p99[1] + p99[2])
	return sample{perSecond, d}, err
}

// onlyReads reports whether all that went wrong are reads: that is how wrk counts
// connections that the other side closes behind an answer, as it is asked to.
func onlyReads(line string) bool {
	var connect, read, write, timeout int
	_, err := fmt.Sscanf(strings.TrimSpace(line), "Socket errors: connect %d, read %d, write %d, timeout %d", &connect, &read, &write, &timeout)
	return err == nil && connect+write+timeout == 0
}

var (
	h2Rate = regexp.MustCompile(`(?m)^finished in [^,]+, ([\d.]+) req/s`)
	h2Bad  = regexp.MustCompile(`(?m)^requests: .* (\d+) failed, (\d+) errored, (\d+) timeout`)
)

// h2load asks over HTTP/2; it tells no p99.
func h2load(ctx context.Context, g *group, p peer, each time.Duration) (sample, error) {
	requests := max(200, int(5000*each.Seconds()))
	out, err := output(ctx, each+stepTimeout, "h2load", "-t1", "-c8", "-m8", "-n", strconv.Itoa(requests), "-H", ":authority: "+host,
		"--connect-to", g.address(p, tls), "https://"+host+"/")
	if err != nil {
		return sample{}, err
	}
	rate, bad := h2Rate.FindStringSubmatch(out), h2Bad.FindStringSubmatch(out)
	if rate == nil || bad == nil || bad[1]+bad[2]+bad[3] != "000" {
		return sample{}, fmt.Errorf("h2load says\n%s", out)
	}
	perSecond, err := strconv.ParseFloat(rate[1], 64)
	return sample{rate: perSecond}, err
}

// curl fetches a file.
func curl(path string) client {
	return func(ctx context.Context, g *group, p peer, _ time.Duration) (sample, error) {
		out, err := runCurl(ctx, host, "%{speed_download}", "-o", "/dev/null", "http://"+g.address(p, 0)+path)
		if err != nil {
			return sample{}, err
		}
		return parseSpeed(out)
	}
}

// upload sends the large file to an app that reads all of it before it answers, and says how
// much that was: a proxy whose app answers at once need not pass on what comes then.
func upload(ctx context.Context, g *group, p peer, _ time.Duration) (sample, error) {
	size := cmp.Or(g.options.large, 1<<30)
	file := filepath.Join(g.dir, "files/1g")
	out, err := runCurl(ctx, echoHost, "%{speed_upload}", "-H", "Expect:", "-X", "POST", "-T", file, "http://"+g.echoAddress(p)+"/upload")
	if err != nil {
		return sample{}, err
	}
	count, speed, _ := strings.Cut(out, "\n")
	if count != strconv.FormatInt(size, 10) {
		return sample{}, fmt.Errorf("of %d bytes the app has got %s", size, count)
	}
	return parseSpeed(speed)
}

// runCurl gives what comes, and behind it what the format asks for.
func runCurl(ctx context.Context, host, format string, args ...string) (string, error) {
	return output(ctx, 3*stepTimeout, "curl", append([]string{"-sS", "--fail", "-H", "Host: " + host, "-w", format}, args...)...)
}

func parseSpeed(text string) (sample, error) {
	rate, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return sample{rate: rate}, err
}

// output is what a program writes, which must end well and in time.
func output(ctx context.Context, timeout time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(string(out)))
	}
	return string(out), nil
}

// measure makes the rounds.
func measure(ctx context.Context, repo string, o options) (_ *report, err error) {
	dir, err := os.MkdirTemp("/tmp", "bench-proxy-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &group{options: o, dir: dir, self: self}
	defer func() { err = errors.Join(err, g.end(), os.RemoveAll(dir), os.RemoveAll(runtimeDir)) }()
	if err := g.startTenement(ctx, repo); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.destroy(context.WithoutCancel(ctx))) }()
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	r := &report{options: o}
	if r.machine, err = describeMachine(ctx); err != nil {
		return nil, err
	}
	for _, c := range cases {
		if !strings.HasPrefix(c.name, o.only) || o.cases != nil && !slices.Contains(o.cases, c.name) {
			continue
		}
		t := &table{testCase: c, samples: map[string][]sample{}, failed: map[string]bool{}}
		if c.prepare != nil {
			if err := c.prepare(ctx, g); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		rounds := o.rounds
		if c.rounds > 0 {
			rounds = min(rounds, c.rounds)
		}
		for round := range rounds {
			for i := range peers {
				p := peers[(i+round)%len(peers)] // nobody has always the same one before
				if t.failed[p.name] || !c.needs(p) || o.peers != nil && !slices.Contains(o.peers, p.name) {
					continue
				}
				s, err := c.ask(ctx, g, p, o.each)
				if err != nil && p.name == socketProxy && ctx.Err() == nil {
					fmt.Fprintf(os.Stderr, "%s, %s: %v\n", c.name, p.name, err)
					t.failed[p.name] = true
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", c.name, p.name, err)
				}
				t.samples[p.name] = append(t.samples[p.name], s)
			}
		}
		fmt.Fprint(os.Stderr, t.markdown(), "\n")
		r.tables = append(r.tables, t)
	}
	r.loadAfter = platform.Load()
	return r, nil
}
