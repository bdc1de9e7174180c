package api

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// defaultLines is how many stored entries a log has where nobody says.
const defaultLines = 100

// What a search may be, in bytes.
const (
	maxSearch = 1000
	maxGrep   = 1000
)

// logParameters are the parameters of a log.
var logParameters = []string{"lines", "since", "until", "level", "search", "grep", "after", "before", "follow"}

func (a *API) getLogs(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	s, err := a.instances.Get(id)
	if err != nil {
		return err
	}
	q, err := logQuery(r)
	if err != nil {
		return err
	}
	q.Unit = s.Unit
	return a.streamLog(w, r, q)
}

// getAllLogs gives the logs of all instances; to a tenant, those of its own.
func (a *API) getAllLogs(w http.ResponseWriter, r *http.Request) error {
	q, err := logQuery(r)
	if err != nil {
		return err
	}
	if q.Service, err = a.namedService(r); err != nil {
		return err
	}
	if p := who(r); !p.admin {
		if q.Units = a.unitsOf(p, q.Service); q.Units == nil {
			return &tenant.Error{
				Code: tenant.CodeNotFound, Op: "read log",
				Msg: "there is no instance called " + p.tenant, Hint: "the logs are those of instances that there are",
			}
		}
	}
	return a.streamLog(w, r, q)
}

// unitsOf are those of the instances that are somebody's, of a service where that has a name.
func (a *API) unitsOf(p *principal, service string) (list []string) {
	for id := range a.instances.Glance() {
		if p.owns(id) && (service == "" || id.Service == service) {
			list = append(list, units.ServiceName(id))
		}
	}
	return list
}

// getHistory gives the events of the past, also of instances that are gone; to a tenant, those of
// its own.
func (a *API) getHistory(w http.ResponseWriter, r *http.Request) error {
	q, err := logQuery(r)
	if err != nil {
		return err
	}
	q.Events = true
	p := who(r)
	if !p.admin {
		q.Tenant, q.Viewer = p.tenant, p.actor
	}
	if q.Service, err = a.namedService(r); err != nil {
		return err
	}
	if r.URL.Query().Has("instance") {
		if q.Instance, err = tenant.ParseID(r.URL.Query().Get("instance")); err != nil {
			return err
		}
		if !p.owns(q.Instance) {
			return forbidden(q.Instance.String()+" is not an instance of "+p.tenant, "leave the instance out to see your own")
		}
		if q.Service != "" {
			return invalid("service= and instance= do not go together", "leave out one of the two", nil)
		}
	}
	return a.streamLog(w, r, q)
}

// namedService gives the service that the query names, if it does.
func (a *API) namedService(r *http.Request) (string, error) {
	name := r.URL.Query().Get("service")
	if !r.URL.Query().Has("service") {
		return "", nil
	}
	if err := tenant.CheckLabel("service", name); err != nil {
		return "", err
	}
	if !who(r).admin { // tenants are not told which there are
		return name, nil
	}
	return name, a.instances.CheckService(name)
}

// logQuery reads what a request asks for. A client of server-sent events follows, and
// one that comes back goes on where it was.
func logQuery(r *http.Request) (q LogQuery, err error) {
	values := r.URL.Query()
	q.Lines = defaultLines
	if text := values.Get("lines"); values.Has("lines") {
		if q.Lines, err = strconv.Atoi(text); err != nil || q.Lines < -1 {
			return q, invalid("lines="+quote(text)+" is not a number of lines", "use 0 or more, or -1 for all", err)
		}
	}
	for name, at := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := values.Get(name); values.Has(name) {
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return q, invalid(name+"="+quote(text)+" is not a time", "write it as in RFC 3339: 2006-01-02T15:04:05Z", err)
			}
		}
	}
	if values.Has("level") {
		if q.Level, err = tenant.ParseLevel(values.Get("level")); err != nil {
			return q, err
		}
	}
	if q.Search = values.Get("search"); len(q.Search) > maxSearch {
		return q, invalid("the text to search for is too long", fmt.Sprintf("use up to %d bytes", maxSearch), nil)
	}
	if text := values.Get("grep"); text != "" {
		if len(text) > maxGrep {
			return q, invalid("the expression to search for is too long", fmt.Sprintf("use up to %d bytes", maxGrep), nil)
		}
		if q.Grep, err = regexp.Compile(text); err != nil {
			return q, invalid("grep="+quote(text)+" is not a regular expression", "write it as Go and RE2 do: https://golang.org/s/re2syntax", err)
		}
	}
	if text := values.Get("follow"); values.Has("follow") {
		if q.Follow, err = strconv.ParseBool(text); err != nil {
			return q, invalid("follow="+quote(text)+" is neither true nor false", "use follow=true", err)
		}
	}
	q.After, q.Before = values.Get("after"), values.Get("before")
	if wantsEvents(r) {
		q.Follow = true
		if last := r.Header.Get("Last-Event-ID"); last != "" {
			q.After = last
		}
	}
	switch {
	case q.Follow && !q.Until.IsZero():
		return q, invalid("a log that is followed has no end time", "leave out until, or follow", nil)
	case q.Before != "" && (q.Follow || q.After != "" || q.Lines < 1):
		return q, invalid("before= needs a number of lines", "leave out after and follow, and use lines=100", nil)
	}
	return q, nil
}
