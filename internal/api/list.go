package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// maxPage is how many instances a page has at most, and where nobody says.
const maxPage = 1000

// filter says which instances to list.
type filter struct {
	service, prefix, search string
	states                  []tenant.State // nil for all
	after                   tenant.ID      // those behind it
	limit                   int
}

// fits says whether an instance is one of those that are asked for, whatever its state.
func (f filter) fits(id tenant.ID) bool {
	return (f.service == "" || id.Service == f.service) &&
		(f.prefix == "" || strings.HasPrefix(id.Name, f.prefix) || strings.HasPrefix(id.String(), f.prefix)) &&
		(f.search == "" || strings.Contains(id.String(), f.search))
}

// wants says whether it belongs on this page or a later one.
func (f filter) wants(id tenant.ID, state tenant.State) bool {
	return f.in(state) && (f.after.IsZero() || id.Compare(f.after) > 0)
}

// in says whether instances in a state are asked for.
func (f filter) in(state tenant.State) bool {
	return f.states == nil || slices.Contains(f.states, state)
}

func readFilter(q url.Values) (f filter, err error) {
	f.service, f.prefix, f.search, f.limit = q.Get("service"), q.Get("prefix"), strings.ToLower(q.Get("search")), maxPage
	if q.Has("service") {
		if err := tenant.CheckLabel("service", f.service); err != nil {
			return f, err
		}
	}
	if q.Has("state") {
		for name := range strings.SplitSeq(q.Get("state"), ",") {
			var s tenant.State
			if err := s.UnmarshalText([]byte(name)); err != nil {
				return f, invalid(quote(name)+" is not a state", "use some of asleep, waking, awake, dozing, stopping, failed, with commas between", err)
			}
			f.states = append(f.states, s)
		}
	}
	if q.Has("cursor") {
		if f.after, err = tenant.ParseID(q.Get("cursor")); err != nil {
			return f, invalid("cursor="+quote(q.Get("cursor"))+" is none that was given", "use next of the page before", err)
		}
	}
	if q.Has("limit") {
		if f.limit, err = strconv.Atoi(q.Get("limit")); err != nil || f.limit < 1 || f.limit > maxPage {
			return f, invalid("limit="+quote(q.Get("limit"))+" is not a number of instances", fmt.Sprintf("use 1 to %d", maxPage), err)
		}
	}
	return f, nil
}

// listInstances gives a page of the list. It goes on behind the last instance of the
// page before, so that those which come or go meanwhile move nobody.
func (a *API) listInstances(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		return err
	}
	list := wire.Instances{Instances: []wire.Instance{}, Counts: map[tenant.State]int{}}
	p := who(r)
	for id, now := range a.instances.Glance() {
		if !p.owns(id) || !f.fits(id) {
			continue
		}
		list.Counts[now.State]++
		if list.Next != "" || !f.wants(id, now.State) {
			continue
		}
		if len(list.Instances) == f.limit {
			list.Next = list.Instances[f.limit-1].ID.String()
			continue
		}
		// It may be another state by now, or gone.
		if s, err := a.instances.Get(id); err == nil && f.in(s.State) {
			list.Instances = append(list.Instances, a.instance(s))
		}
	}
	if f.service != "" && len(list.Instances) == 0 && p.admin { // the error names all services
		if err := a.instances.CheckService(f.service); err != nil {
			return err
		}
	}
	a.reply(w, r, http.StatusOK, list)
	return nil
}
