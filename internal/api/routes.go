package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tenement.dev/internal/tenant"
)

// Prefix is what the path of every route begins with.
const Prefix = "/api/v1"

// route is one route and what it needs; every field but query must be set.
type route struct {
	method, path string
	access       access
	query        []string // the parameters that it knows
	serve        func(w http.ResponseWriter, r *http.Request) error
}

func (a *API) routes() []route {
	return []route{
		{"GET", "/version", accessLocal, nil, a.getVersion},
		{"GET", "/doctor", accessLocal, nil, a.getDoctor},
		{"GET", "/instances", accessLocal, []string{"service"}, a.listInstances},
		{"POST", "/instances", accessLocal, nil, a.spawnInstance},
		{"GET", "/instances/{id}", accessLocal, nil, a.getInstance},
		{"DELETE", "/instances/{id}", accessLocal, nil, a.destroyInstance},
		{"POST", "/instances/{id}/wake", accessLocal, nil, a.wakeInstance},
		{"POST", "/instances/{id}/stop", accessLocal, nil, a.stopInstance},
		{"POST", "/instances/{id}/restart", accessLocal, nil, a.restartInstance},
		{"POST", "/instances/{id}/weight", accessLocal, nil, a.weighInstance},
		{"POST", "/instances/{id}/deploy", accessLocal, nil, a.deployInstance},
		{"POST", "/services/{service}/route", accessLocal, nil, a.routeService},
		{"GET", "/domains", accessLocal, nil, a.listDomains},
		{"POST", "/domains", accessLocal, nil, a.addDomain},
		{"DELETE", "/domains/{host}", accessLocal, nil, a.removeDomain},
		{"POST", "/instances/{id}/keep-awake", accessLocal, nil, a.keepAwake},
		{"GET", "/instances/{id}/why", accessLocal, nil, a.getWhy},
		{"GET", "/instances/{id}/limits", accessLocal, nil, a.getLimits},
		{"POST", "/instances/{id}/limits", accessLocal, nil, a.setLimits},
		{"POST", "/instances/{id}/pause", accessLocal, nil, a.pauseInstance},
		{"DELETE", "/instances/{id}/pause", accessLocal, nil, a.unpauseInstance},
		{"POST", "/services/{service}/pause", accessLocal, nil, a.pauseService},
		{"DELETE", "/services/{service}/pause", accessLocal, nil, a.unpauseService},
		{"GET", "/instances/{id}/logs", accessLocal, logParameters, a.getLogs},
		{"GET", "/logs", accessLocal, append([]string{"service"}, logParameters...), a.getAllLogs},
	}
}

// newMux makes the routes, and routes for what they do not cover.
func (a *API) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range a.routes() {
		if rt.access == accessUndeclared || rt.serve == nil {
			panic("api: route " + rt.method + " " + rt.path + " does not declare what it needs")
		}
		mux.HandleFunc(rt.method+" "+Prefix+rt.path, a.handler(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(Prefix+path, a.handler(otherMethod(path, allowed)))
	}
	mux.HandleFunc("/", a.handler(route{path: "/", access: accessLocal, serve: noRoute}))
	return mux
}

// handler serves a route to those who may use it.
func (a *API) handler(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := a.admit(r, rt.access)
		if err == nil && rt.method != "" {
			err = checkQuery(r.URL, rt.query)
		}
		if err == nil {
			err = rt.serve(w, r)
		}
		if err != nil {
			a.fail(w, r, err)
		}
	}
}

// checkQuery refuses parameters that the route does not know, and repeated ones.
func checkQuery(u *url.URL, known []string) error {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return invalid("the query is malformed", "write it as name=value&name=value", err)
	}
	for name, list := range values {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			return invalid(quote(name)+" is not a parameter here", "there are none", nil)
		case !slices.Contains(known, name):
			return invalid(quote(name)+" is not a parameter here", "there are: "+strings.Join(known, ", "), nil)
		case len(list) > 1:
			return invalid(quote(name)+" is given more than once", "give it once", nil)
		}
	}
	return nil
}

func otherMethod(path string, allowed []string) route {
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return route{path: path, access: accessLocal, serve: func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", list)
		return &statusError{http.StatusMethodNotAllowed, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "route",
			Msg:  quote(r.Method) + " is not possible here",
			Hint: "use " + list,
		}}
	}}
}

func noRoute(_ http.ResponseWriter, r *http.Request) error {
	return &tenant.Error{
		Code: tenant.CodeNotFound, Op: "route",
		Msg:  "the API has nothing at " + quote(r.URL.Path),
		Hint: "its paths begin with " + Prefix,
	}
}
