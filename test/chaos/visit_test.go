package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long a visitor waits for an answer. Less than the time after which the
// daemon gives a start up would hide how that ends.
const patience = 90 * time.Second

// drain is for how long a daemon that is told to end waits for its requests: with more
// tenants waking than the machine has the time for, one may take longer.
const drain = 9 * time.Second

// counts are how the requests went.
type counts struct {
	good, aborted, refused, cut atomic.Int64
	slowest                     atomic.Int64 // ns, of the good ones
	asked, told                 atomic.Int64 // answers of the API, and streams that have told something
}

// visitor makes one request after the other, each on a connection of its own: one that is
// kept may die with the daemon before it is used again.
type visitor struct {
	w    *world
	rand *rand.Rand
	http *http.Client
}

func newVisitor(w *world, r *rand.Rand) *visitor {
	return &visitor{w, r, &http.Client{Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", w.s.Addr())
		},
	}}}
}

// visit is one request to a tenant.
type visit struct {
	method, path string
	body         io.Reader
	// read looks at the answer; slowly, some of them.
	read func(*http.Response) error
	// abort ends it early.
	abort time.Duration
}

// run makes requests until ctx ends.
func (v *visitor) run(ctx context.Context) {
	for ctx.Err() == nil {
		t := v.w.tenants[v.rand.IntN(len(v.w.tenants))]
		if v.rand.IntN(50) == 0 {
			v.dawdle(t)
			continue
		}
		v.make(t, v.choose(t))
		time.Sleep(time.Duration(v.rand.IntN(20)) * time.Millisecond) // a visitor's pause
	}
}

// choose makes up a request.
func (v *visitor) choose(t *tenant) visit {
	var visit visit
	switch n := v.rand.IntN(100); {
	case n < 45:
		visit = v.addNote(t)
	case n < 65:
		visit = v.readNotes(t)
	case n < 75:
		ms := v.rand.IntN(300)
		visit = expect("GET", fmt.Sprintf("/slow?ms=%d", ms), nil, "done\n")
	case n < 88:
		visit = v.download()
	default:
		visit = v.upload()
	}
	if v.rand.IntN(8) == 0 {
		visit.abort = time.Duration(v.rand.IntN(60_000)) * time.Microsecond
	}
	return visit
}

// expect is a request whose answer is known.
func expect(method, path string, body io.Reader, want string) visit {
	return visit{method: method, path: path, body: body, read: func(resp *http.Response) error {
		got, err := io.ReadAll(resp.Body)
		if err == nil && string(got) != want {
			err = wrong(fmt.Sprintf("the answer is %.80q, want %.80q", got, want))
		}
		return err
	}}
}

// wrong is an answer that no disturbance excuses.
type wrong string

func (w wrong) Error() string { return string(w) }

func (v *visitor) addNote(t *tenant) visit {
	text := t.write()
	visit := expect("POST", "/notes", strings.NewReader(text+"\n"), text+"\n")
	read := visit.read
	visit.read = func(resp *http.Response) error {
		err := read(resp)
		if err == nil {
			t.ack(text)
		}
		return err
	}
	return visit
}

func (v *visitor) readNotes(t *tenant) visit {
	from := time.Now()
	return visit{method: "GET", path: "/notes", read: func(resp *http.Response) error {
		text, err := io.ReadAll(resp.Body)
		if err == nil {
			if bad := t.check(strings.Fields(string(text)), from, time.Now()); bad != nil {
				err = wrong(bad.Error())
			}
		}
		return err
	}}
}

func (v *visitor) download() visit {
	var want strings.Builder
	n, ms, pause := 1+v.rand.IntN(30), v.rand.IntN(10), time.Duration(v.rand.IntN(8))*time.Millisecond
	for i := range n {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	d := expect("GET", fmt.Sprintf("/download?n=%d&ms=%d", n, ms), nil, want.String())
	if v.rand.IntN(2) == 0 {
		read := d.read
		d.read = func(resp *http.Response) error {
			resp.Body = io.NopCloser(&slowly{resp.Body, pause})
			return read(resp)
		}
	}
	return d
}

func (v *visitor) upload() visit {
	size := 1 + v.rand.IntN(40)*100
	var body io.Reader = strings.NewReader(strings.Repeat("x", size))
	if v.rand.IntN(2) == 0 {
		body = &slowly{body, time.Duration(v.rand.IntN(5)) * time.Millisecond}
	}
	return expect("POST", "/upload", body, fmt.Sprintln(size))
}

// slowly reads a few bytes at a time, with a pause after each.
type slowly struct {
	r     io.Reader
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	n, err := s.r.Read(p[:min(len(p), 64)])
	time.Sleep(s.pause)
	return n, err
}

// make makes a request and settles what came of it.
func (v *visitor) make(t *tenant, visit visit) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if visit.abort > 0 {
		timer := time.AfterFunc(visit.abort, cancel)
		defer timer.Stop()
	}
	req, err := http.NewRequestWithContext(ctx, visit.method, "http://"+t.name+"."+t.service+".localhost"+visit.path, visit.body)
	if err != nil {
		v.w.fault("%v", err)
		return
	}
	from := time.Now()
	resp, err := v.http.Do(req)
	status := 0
	if err == nil {
		status = resp.StatusCode
		if status == http.StatusOK {
			err = v.signature(t, resp)
			if err == nil {
				err = visit.read(resp)
			}
		} else {
			text, _ := io.ReadAll(resp.Body)
			err = errors.New(string(text))
		}
		resp.Body.Close()
	}
	v.settle(t, visit, status, err, from, time.Now())
}

// signature makes sure that the answer is this tenant's.
func (v *visitor) signature(t *tenant, resp *http.Response) error {
	if got := resp.Header.Get("Testapp-Instance"); got != t.name {
		return wrong(fmt.Sprintf("an answer of %q", got))
	}
	return nil
}

// settle accounts for a request.
func (v *visitor) settle(t *tenant, visit visit, status int, err error, from, to time.Time) {
	c := &v.w.counts
	ended, wiped, killed := t.ends.during(from, to), t.wipes.during(from, to), v.w.kills.during(from, to)
	var never wrong
	fault := func(what string) {
		v.w.fault("%s %s%s after %v: %s: %d %v", visit.method, t.id(), visit.path, to.Sub(from), what, status, err)
	}
	switch {
	case errors.As(err, &never):
		fault("a wrong answer")
	case err == nil:
		c.good.Add(1)
		if took := int64(to.Sub(from)); took > c.slowest.Load() {
			c.slowest.Store(took)
		}
	case visit.abort > 0 && errors.Is(err, context.Canceled):
		c.aborted.Add(1)
	case status == http.StatusOK || status == 0:
		// It was cut off: the app cannot do that before its answer has begun.
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			fault("a connection was refused")
		case to.Sub(from) > drain && v.w.restarts.during(from, to) != "":
			c.cut.Add(1)
		case killed != "", status == http.StatusOK && ended+wiped != "":
			c.cut.Add(1)
		default:
			fault("cut off, though nothing was killed")
		}
	case status == http.StatusNotFound:
		if wiped == "" {
			fault("not found, though it was not destroyed")
		}
		c.refused.Add(1)
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable:
		paused := status == http.StatusServiceUnavailable && t.pauses.during(from, to) != ""
		if ended+wiped == "" && !paused {
			fault("failed, though nothing has ended its app")
		}
		c.refused.Add(1)
	default:
		fault("no way to fail")
	}
}

// dawdle begins a request that it does not finish.
func (v *visitor) dawdle(t *tenant) {
	conn, err := net.Dial("tcp", v.w.s.Addr())
	if err != nil {
		v.w.fault("connect: %v", err)
		return
	}
	defer conn.Close()
	head := fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: %s.%s.localhost\r\nContent-Length: 100\r\n\r\nhalf of it", t.name, t.service)
	_, _ = io.WriteString(conn, head[:v.rand.IntN(len(head)+1)])
	time.Sleep(time.Duration(v.rand.IntN(100)) * time.Millisecond)
}
