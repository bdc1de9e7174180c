package dashboard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/wire"
	pages "tenement.dev/templates/dashboard"
)

const (
	// heartbeat is how often a stream sends all parts, whether or not something has changed.
	heartbeat = 15 * time.Second
	// patience bounds a write to a browser; a slower one is cut off and comes back.
	patience = 10 * time.Second
	// gather is how long changes are gathered before they are sent together, settle how
	// often parts are looked at again where nothing was told.
	gather = 150 * time.Millisecond
	settle = 5 * time.Second
	// maxTogether is how many messages are sent together at most.
	maxTogether = 500
)

// stream sends parts of pages to one browser (HTML Living Standard, section 9.2).
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, control: http.NewResponseController(w)}
}

func (s *stream) write(text string) error {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "text/event-stream")
		s.w.Header().Set("X-Accel-Buffering", "no")
		text = "retry: 1000\n\n" + text
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.control.Flush()
}

// lines splits text as the format wants it: each of CR, LF and CRLF ends a line there.
var lines = strings.NewReplacer("\r\n", "\ndata: ", "\n", "\ndata: ", "\r", "\ndata: ")

// swap sends parts of the page, each with the id of what it takes the place of. Each is
// parsed by itself: a row is not one after something else (HTML, section 13.2.6.4.18).
func (s *stream) swap(list ...string) error {
	var b strings.Builder
	for _, html := range list {
		if html != "" {
			b.WriteString("event: swap\ndata: " + lines.Replace(html) + "\n\n")
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return s.write(b.String())
}

// bye sends the last parts and has the browser not come back.
func (s *stream) bye(html string) {
	_ = s.swap(html) // or it has gone already
	_ = s.write("event: bye\ndata: bye\n\n")
}

// message is one event of the API.
type message struct {
	kind string
	data []byte
}

// maxMessage bounds one, in bytes: a line of a log has up to 64 KiB before it is escaped.
const maxMessage = 1 << 20

// read gives the events of a stream of the API until it ends or ctx does.
func read(ctx context.Context, from io.Reader, to chan<- message) {
	scanner := bufio.NewScanner(from)
	scanner.Buffer(make([]byte, 4096), maxMessage)
	var m message
	for scanner.Scan() {
		line := scanner.Bytes()
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && m.data != nil:
			select {
			case to <- m:
			case <-ctx.Done():
				return
			}
			m = message{}
		case len(line) == 0:
			m = message{}
		case string(name) == "event":
			m.kind = string(value)
		case string(name) == "data":
			m.data = append(m.data, value...)
		}
	}
}

// follow opens streams of the API and gives their events in channels, which are closed
// at their ends. stop ends all and waits for them.
func (d *Dashboard) follow(ctx context.Context, r *http.Request, s *session, paths ...string) (list []<-chan message, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	stop = func() { cancel(); work.Wait() }
	for i, path := range paths {
		to := make(chan message, 16)
		body, err := d.open(ctx, r, s.secret, path)
		var f *failure
		if i > 0 && errors.As(err, &f) { // shown where its lines would be; the rest goes on
			text, _ := json.Marshal(wire.LogLine{Error: &f.told})
			to <- message{data: text}
			close(to)
			list = append(list, to)
			continue
		}
		if err != nil {
			stop()
			return nil, nil, err
		}
		work.Go(func() {
			defer close(to)
			defer body.Close()
			read(ctx, body, to)
		})
		list = append(list, to)
	}
	return list, stop, nil
}

// part is a part of a page: its element's id, and what is in that or, if whole, in its place.
type part struct {
	id, html string
	whole    bool
}

// parts remembers what a browser was sent, and gives what has changed.
type parts map[string]string

func (p parts) changed(now []part) (list []string) {
	for _, one := range now {
		if before, ok := p[one.id]; ok && before == one.html {
			continue
		}
		p[one.id] = one.html
		if one.whole {
			list = append(list, one.html) // it has its id, and says that it is to be put there
			continue
		}
		list = append(list, wrap(one.id, "innerHTML", one.html))
	}
	return list
}

// wrap has html put into the element of that id; id and how are ours.
func wrap(id, how, html string) string {
	return `<div id="` + id + `" hx-swap-oob="` + how + `">` + html + `</div>`
}

// live keeps a page up to date: look gives its parts, which are looked at again whenever
// an event comes, and now and then. log, if it is not nil, has lines of its own; told
// gives what is to be shown of them.
func (d *Dashboard) live(w http.ResponseWriter, r *http.Request, s *session, paths []string,
	look func() ([]part, error), told func(list []message, first bool) string) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.live, cancel)()
	channels, stop, err := d.follow(ctx, r, s, paths...)
	if err != nil {
		return err
	}
	defer stop()
	out, sent := newStream(w), parts{}
	refresh := func() error {
		list, err := look()
		if err != nil {
			if code := statusOf(err); code != http.StatusUnauthorized && code != http.StatusNotFound {
				d.log.Warn("dashboard page not kept up to date", "path", r.URL.Path, "err", err)
			}
			return err
		}
		return out.swap(sent.changed(list)...)
	}
	if err := refresh(); err != nil {
		return err
	}
	if told != nil {
		if err := out.swap(told(nil, true)); err != nil {
			return nil
		}
	}
	var lines <-chan message
	if len(channels) > 1 {
		lines = channels[1]
	}
	beat, again := time.NewTicker(heartbeat), time.NewTicker(settle)
	defer beat.Stop()
	defer again.Stop()
	var waiting []message
	var due <-chan time.Time
	stale := false
	for {
		var err error
		select {
		case <-ctx.Done():
			if s.live.Err() != nil {
				out.bye(signedOut)
			}
			return nil
		case m, ok := <-channels[0]:
			if !ok {
				return d.leave(out, r, s)
			}
			if told != nil && lines == nil {
				waiting = append(waiting, m)
			}
			stale = true
		case m, ok := <-lines:
			if !ok { // its last words are shown, and the rest goes on
				lines = make(chan message)
				break
			}
			waiting = append(waiting, m)
		case <-beat.C:
			// All of it, so that what a browser has lost while it was changing the page itself
			// comes again.
			clear(sent)
			err = refresh()
		case <-again.C:
			err = refresh()
		case <-due:
			due = nil
			if len(waiting) > 0 {
				err = out.swap(told(waiting, false))
				waiting = nil
			}
			if err == nil && stale {
				stale, err = false, refresh()
			}
		}
		switch {
		case err != nil && statusOf(err) == http.StatusUnauthorized:
			return d.leave(out, r, s)
		case err != nil:
			return nil // the browser has gone, or comes back
		case len(waiting) >= maxTogether:
			if err := out.swap(told(waiting, false)); err != nil {
				return nil
			}
			waiting = nil
		case due == nil && (stale || len(waiting) > 0):
			due = time.After(gather)
		}
	}
}

const signedOut = `<div id="notice" hx-swap-oob="innerHTML"><p class="notice bad" role="alert">You are signed out. <a href="/sign-in">Sign in again</a></p></div>`

// leave ends a stream whose source has ended: for good, where that is because who looks
// may not any more.
func (d *Dashboard) leave(out *stream, r *http.Request, s *session) error {
	if err := d.ask(r, s.secret, http.MethodGet, "/self", nil, nil); err != nil && statusOf(err) == http.StatusUnauthorized {
		out.bye(signedOut)
	}
	return nil
}

// piece renders a part of a page.
func piece(page, name string, data any) (string, error) {
	text, err := pages.Render(page, name, data)
	return string(text), err
}

// query makes a path with what of a query is there.
func query(path string, values url.Values) string {
	for name, list := range values {
		if len(list) == 0 || list[0] == "" {
			delete(values, name)
		}
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}
