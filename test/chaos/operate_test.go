package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"
)

// call makes a request to the API with the token.
func (w *world) call(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:9090/api/v1"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	return transport.RoundTrip(req)
}

// down tells of a daemon that was away between two moments.
func (w *world) down(from, to time.Time) bool {
	return w.kills.during(from, to)+w.restarts.during(from, to)+w.starts.during(from, to) != ""
}

// ask asks the API about a tenant.
func (w *world) ask(r *rand.Rand) {
	t := w.tenants[r.IntN(len(w.tenants))]
	path := "/instances/" + t.id() + []string{"", "/why", "/logs?lines=3"}[r.IntN(3)]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	from := time.Now()
	resp, err := w.call(ctx, path)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case resp.StatusCode == 404 && t.wipes.during(from, time.Now()) != "":
		case resp.StatusCode == 503 && w.down(from, time.Now()): // it is about to stop
		case resp.StatusCode != 200:
			w.fault("GET %s: got %s %.200s", path, resp.Status, text)
		case err == nil && !strings.HasSuffix(path, "lines=3") && !strings.Contains(string(text), `"`+t.id()+`"`):
			w.fault("GET %s: got %.200s", path, text)
		}
	}
	if err == nil {
		w.counts.asked.Add(1)
	} else if !w.down(from, time.Now()) {
		w.fault("GET %s: %v", path, err)
	}
}

// follow opens streams of the API and leaves them, some before they have told anything.
func (w *world) follow(r *rand.Rand) {
	var all sync.WaitGroup
	for range 1 + r.IntN(8) {
		path := "/events"
		t := w.tenants[r.IntN(len(w.tenants))]
		if r.IntN(2) == 0 {
			path = "/instances/" + t.id() + "/logs?follow=true&lines=5"
		}
		stay := time.Duration(r.IntN(1000)) * time.Millisecond
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stay)
			defer cancel()
			from := time.Now()
			resp, err := w.call(ctx, path)
			if err != nil {
				if ctx.Err() == nil && !w.down(from, time.Now()) {
					w.fault("GET %s: %v", path, err)
				}
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			switch to := time.Now(); {
			case resp.StatusCode == 404 && t.wipes.during(from, to) != "":
			case resp.StatusCode == 503 && w.down(from, to): // it is about to stop
			case resp.StatusCode != 200:
				w.fault("GET %s: got %s %.200s", path, resp.Status, text)
			case err == nil && ctx.Err() == nil && !w.down(from, to) && t.wipes.during(from, to) == "":
				w.fault("GET %s: the stream ended", path)
			case len(text) > 0:
				w.counts.told.Add(1)
			}
		})
	}
	all.Wait()
}

var openStreams = regexp.MustCompile(`(?m)^tenement_api_streams (.*)$`)

// streams are those that the API still has open.
func (w *world) streams() []string {
	out, err := exec.Command("curl", "--silent", "--show-error", "--unix-socket", "/run/tenement/api.sock", "http://tenement/metrics").CombinedOutput()
	found := openStreams.FindStringSubmatch(string(out))
	switch {
	case err != nil || found == nil:
		return []string{fmt.Sprintf("not known: %v %.200s", err, out)}
	case found[1] != "0":
		return found[1:]
	}
	return nil
}
