package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// instance is what the page of an instance shows.
type instance struct {
	Why     wire.Why
	Limits  wire.Limits
	Domains []wire.Domain
	Listen  listen
	MayWake bool
	MayRestart,
	Admin bool
}

// listen is which lines of its log are shown.
type listen struct {
	ID, Search, Level, Since string
	Levels                   []string
	Sinces                   []choice
	URL                      string
	Word                     string
}

type choice struct{ Value, Text string }

var logLevels = []string{"err", "warning", "info", "debug"}

var logSinces = []choice{{"15m", "the last 15 minutes"}, {"1h", "the last hour"}, {"24h", "the last day"}, {"168h", "the last 7 days"}}

// storedLines is how many lines of a log are shown to begin with.
const storedLines = "200"

func readListen(id string, q url.Values) listen {
	l := listen{ID: id, Search: q.Get("search"), Levels: logLevels, Sinces: logSinces}
	if level := q.Get("level"); slices.Contains(logLevels, level) {
		l.Level = level
	}
	if since := q.Get("since"); slices.ContainsFunc(logSinces, func(c choice) bool { return c.Value == since }) {
		l.Since = since
	}
	l.URL = query(place(id)+"/live", url.Values{"search": {l.Search}, "level": {l.Level}, "since": {l.Since}})
	return l
}

// path is that of the log in the API.
func (l listen) path() string {
	v := url.Values{"search": {l.Search}, "level": {l.Level}, "lines": {storedLines}, "follow": {"true"}}
	if d, err := time.ParseDuration(l.Since); err == nil {
		v.Set("since", time.Now().Add(-d).UTC().Format(time.RFC3339))
	}
	return query("/instances/"+url.PathEscape(l.ID)+"/logs", v)
}

// place is the path of an instance's page.
func place(id string) string { return "/instances/" + url.PathEscape(id) }

// look asks for what is known of an instance.
func (d *Dashboard) look(r *http.Request, s *session, id string) (instance, error) {
	i := instance{Admin: s.self.Admin}
	i.MayWake = i.Admin || slices.Contains(s.self.Allow, tenant.MayWake)
	i.MayRestart = i.Admin || slices.Contains(s.self.Allow, tenant.MayRestart)
	path := "/instances/" + url.PathEscape(id)
	if err := d.ask(r, s.secret, http.MethodGet, path+"/why", nil, &i.Why); err != nil {
		return i, err
	}
	if err := d.ask(r, s.secret, http.MethodGet, path+"/limits", nil, &i.Limits); err != nil {
		return i, err
	}
	if i.Admin {
		var all wire.Domains
		if err := d.ask(r, s.secret, http.MethodGet, "/domains", nil, &all); err != nil {
			return i, err
		}
		for _, one := range all.Domains {
			if one.ID == i.Why.ID {
				i.Domains = append(i.Domains, one)
			}
		}
	}
	return i, nil
}

func (d *Dashboard) getInstance(w http.ResponseWriter, r *http.Request, s *session) error {
	id := r.PathValue("id")
	i, err := d.look(r, s, id)
	if err != nil {
		return err
	}
	i.Listen = readListen(id, r.URL.Query())
	return d.show(w, http.StatusOK, "instance", "page", s.view(i.Why.ID.String(), "instances", i))
}

// listen answers with the element that follows another part of the log.
func (d *Dashboard) listen(w http.ResponseWriter, r *http.Request, _ *session) error {
	return d.show(w, http.StatusOK, "instance", "live", readListen(r.PathValue("id"), r.URL.Query()))
}

// instanceParts are those of the page that change by themselves; forms are not, since
// somebody may be filling them in.
var instanceParts = []string{"state", "why", "facts", "uses"}

// liveInstance keeps the page up to date, and shows the log as it comes.
func (d *Dashboard) liveInstance(w http.ResponseWriter, r *http.Request, s *session) error {
	id := r.PathValue("id")
	l := readListen(id, r.URL.Query())
	paths := []string{query("/events", url.Values{"instance": {id}}), l.path()}
	return d.live(w, r, s, paths, func() ([]part, error) {
		i, err := d.look(r, s, id)
		if err != nil {
			return nil, err
		}
		var made []part
		for _, name := range instanceParts {
			html, err := piece("instance", name, i)
			if err != nil {
				return nil, err
			}
			made = append(made, part{id: name, html: html})
		}
		return made, nil
	}, logLines(l))
}

// line is a line of a log as pages show it.
type line struct {
	wire.LogEntry
	Failure *wire.Error
}

// Class says how urgent it is.
func (l line) Class() string {
	switch {
	case l.Failure != nil || l.Priority <= 3:
		return "err"
	case l.Priority == 4:
		return "warning"
	case l.Manager:
		return "manager"
	}
	return ""
}

// logLines shows what comes of a log. A new stream begins with an empty one.
func logLines(l listen) func(list []message, first bool) string {
	return func(list []message, first bool) string {
		if first {
			return wrap("log", "innerHTML", "")
		}
		var b strings.Builder
		for _, m := range list {
			var got wire.LogLine
			if json.Unmarshal(m.data, &got) != nil {
				continue
			}
			one := line{Failure: got.Error}
			if got.LogEntry != nil {
				one.LogEntry = *got.LogEntry
			}
			html, err := piece("instance", "line", struct {
				line
				Search string
			}{one, l.Search})
			if err == nil {
				b.WriteString(html)
			}
		}
		return wrap("log", "beforeend", b.String())
	}
}

// getSamples gives what the charts show. Whoever may see the instance may see them.
func (d *Dashboard) getSamples(w http.ResponseWriter, r *http.Request, s *session) error {
	id := r.PathValue("id")
	var got wire.Instance
	if err := d.ask(r, s.secret, http.MethodGet, "/instances/"+url.PathEscape(id), nil, &got); err != nil {
		return err
	}
	text, err := json.Marshal(d.samples.of(got.ID))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // or the client has gone
	return nil
}

// recent is the place after which the latest n events come.
func (d *Dashboard) recent(n uint64) string {
	last := d.last()
	last.N -= min(last.N, n)
	return event.ID{Run: last.Run, N: last.N}.String()
}
