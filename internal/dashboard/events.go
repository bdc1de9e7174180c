package dashboard

import (
	"net/http"
	"net/url"
	"strings"
)

// shownEvents is how many of the latest events a page begins with.
const shownEvents = 300

func (d *Dashboard) getEvents(w http.ResponseWriter, _ *http.Request, s *session) error {
	return d.show(w, http.StatusOK, "events", "page", s.view("Events", "events", nil))
}

// liveEvents shows the latest events, and those that come. A tenant sees those of its
// own instances among all that are kept.
func (d *Dashboard) liveEvents(w http.ResponseWriter, r *http.Request, s *session) error {
	n := uint64(shownEvents)
	if !s.self.Admin {
		n = 1 << 20
	}
	path := query("/events", url.Values{"after": {d.recent(n)}})
	return d.live(w, r, s, []string{path}, func() ([]part, error) { return nil, nil }, eventLines)
}

// eventLines shows events, the newest first.
func eventLines(list []message, first bool) string {
	if first {
		return `<tbody id="events" hx-swap-oob="innerHTML"></tbody>`
	}
	var rows []string
	for _, m := range list {
		e, ok := decodeEvent(m)
		if !ok {
			continue
		}
		if html, err := piece("events", "event", e); err == nil {
			rows = append(rows, html)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(`<tbody id="events" hx-swap-oob="afterbegin">`)
	for i := len(rows) - 1; i >= 0; i-- {
		b.WriteString(rows[i])
	}
	b.WriteString(`</tbody>`)
	return b.String()
}
