package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// pageSizes are how many instances a page of the list may have; the first is usual.
var pageSizes = []int{50, 100, 200}

// list is what the list of instances shows.
type list struct {
	Search, Service, State string
	Cursor                 string
	Size                   int
	Sizes                  []int
	States                 []stateCount
	Total                  int
	Rows                   []wire.Instance
	NextURL, FirstURL      string
	LiveURL                string
	Services               []string // to choose from; nil where the viewer may not know
}

// stateCount is one state to filter by; the empty one is all.
type stateCount struct {
	State string
	Count int
	URL   string
	On    bool
}

// values are the list's as a query has them.
func (l list) values() url.Values {
	v := url.Values{"search": {l.Search}, "service": {l.Service}, "state": {l.State}, "cursor": {l.Cursor}}
	if l.Size != pageSizes[0] {
		v.Set("size", strconv.Itoa(l.Size))
	}
	return v
}

func readList(q url.Values) list {
	l := list{Search: q.Get("search"), Service: q.Get("service"), State: q.Get("state"), Cursor: q.Get("cursor"), Size: pageSizes[0], Sizes: pageSizes}
	if n, err := strconv.Atoi(q.Get("size")); err == nil && slices.Contains(pageSizes, n) {
		l.Size = n
	}
	return l
}

// fill asks for what the list shows.
func (d *Dashboard) fill(r *http.Request, s *session, l list) (list, error) {
	var got wire.Instances
	err := d.ask(r, s.secret, http.MethodGet, query("/instances", url.Values{
		"search": {l.Search}, "service": {l.Service}, "state": {l.State}, "cursor": {l.Cursor}, "limit": {strconv.Itoa(l.Size)},
	}), nil, &got)
	if err != nil {
		return l, err
	}
	l.Rows = got.Instances
	at := func(change func(*list)) string {
		other := l
		change(&other)
		return query("/", other.values())
	}
	l.LiveURL = query("/live", l.values())
	if l.Cursor != "" {
		l.FirstURL = at(func(o *list) { o.Cursor = "" })
	}
	if got.Next != "" {
		l.NextURL = at(func(o *list) { o.Cursor = got.Next })
	}
	for _, n := range got.Counts {
		l.Total += n
	}
	l.States = []stateCount{{Count: l.Total, On: l.State == "", URL: at(func(o *list) { o.State, o.Cursor = "", "" })}}
	for _, state := range []tenant.State{tenant.Awake, tenant.Dozing, tenant.Asleep, tenant.Waking, tenant.Stopping, tenant.Failed} {
		name := state.String()
		l.States = append(l.States, stateCount{
			State: name, Count: got.Counts[state], On: l.State == name,
			URL: at(func(o *list) { o.State, o.Cursor = name, "" }),
		})
	}
	return l, nil
}

func (d *Dashboard) getList(w http.ResponseWriter, r *http.Request, s *session) error {
	l, err := d.fill(r, s, readList(r.URL.Query()))
	if err != nil {
		return err
	}
	if s.self.Admin {
		if l.Services, err = d.serviceNames(r, s); err != nil {
			return err
		}
	}
	part := "page"
	if fromHTMX(r) && r.Header.Get("HX-History-Restore-Request") != "true" {
		part = "list"
	}
	return d.show(w, http.StatusOK, "list", part, s.view("Instances", "instances", l))
}

func (d *Dashboard) serviceNames(r *http.Request, s *session) ([]string, error) {
	var got wire.Services
	if err := d.ask(r, s.secret, http.MethodGet, "/services", nil, &got); err != nil {
		return nil, err
	}
	names := make([]string, len(got.Services))
	for i, one := range got.Services {
		names[i] = one.Name
	}
	return names, nil
}

// listEvents are the kinds of event that change the list.
const listEvents = "state,created,destroyed,health,weight,deployed,rollout,audit,restarting"

// liveList keeps the list up to date: row by row as long as the same instances are on
// the page.
func (d *Dashboard) liveList(w http.ResponseWriter, r *http.Request, s *session) error {
	l := readList(r.URL.Query())
	var before []tenant.ID
	return d.live(w, r, s, []string{query("/events", url.Values{"kind": {listEvents}})}, func() ([]part, error) {
		now, err := d.fill(r, s, l)
		if err != nil {
			return nil, err
		}
		counts, err := piece("list", "states", now)
		if err != nil {
			return nil, err
		}
		made := []part{{id: "states", html: counts}}
		ids := make([]tenant.ID, len(now.Rows))
		for i, one := range now.Rows {
			ids[i] = one.ID
		}
		if !slices.Equal(ids, before) {
			before = ids
			rows, err := piece("list", "rows", now)
			return append(made, part{id: "rows", html: rows, whole: true}), err
		}
		for _, one := range now.Rows {
			row, err := piece("list", "row", one)
			if err != nil {
				return nil, err
			}
			made = append(made, part{id: one.ID.String(), html: row, whole: true})
		}
		return made, nil
	}, nil)
}

// spawn creates an instance.
func (d *Dashboard) spawn(w http.ResponseWriter, r *http.Request, s *session) error {
	id := r.PostFormValue("id")
	if err := d.ask(r, s.secret, http.MethodPost, "/instances", wire.SpawnRequest{ID: id}, nil); err != nil {
		return err
	}
	return d.done(w, r, s, "/instances/"+url.PathEscape(id), id+" is awake")
}

// told decodes an event of the API as pages show it.
type told struct {
	ID       string         `json:"id"`
	Time     string         `json:"time"`
	Kind     string         `json:"kind"`
	Instance string         `json:"instance"`
	Actor    string         `json:"actor"`
	Fields   map[string]any `json:"fields"`
}

func decodeEvent(m message) (told, bool) {
	var e told
	err := json.Unmarshal(m.data, &e)
	return e, err == nil && m.kind != "gap"
}
