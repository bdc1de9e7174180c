package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Prefix is what the path of every route begins with.
const Prefix = "/api/v1"

// MetricsPath is where Prometheus looks for metrics.
const MetricsPath = "/metrics"

// route is one route and what it needs; every field but query must be set.
type route struct {
	// action is what the route does: the operationId of the document (openapi.json). Audit
	// events call it as the command of ten is called.
	action       string
	method, path string
	access       access
	query        []string // the parameters that it knows
	serve        func(w http.ResponseWriter, r *http.Request) error
}

func (a *API) routes() []route {
	return []route{
		{"getDocument", "GET", "/openapi.json", accessAnyone, nil, a.getDocument},
		{"getSelf", "GET", "/self", accessKnown, nil, a.getSelf},
		{"getVersion", "GET", "/version", accessKnown, nil, a.getVersion},
		{"getDoctor", "GET", "/doctor", accessAdmin, nil, a.getDoctor},
		{"reload", "POST", "/reload", accessAdmin, nil, a.postReload},
		{"listInstances", "GET", "/instances", accessKnown, []string{"service", "state", "prefix", "search", "limit", "cursor"}, a.listInstances},
		{"spawn", "POST", "/instances", accessAdmin, nil, a.spawnInstance},
		{"getInstance", "GET", "/instances/{id}", accessOwner, nil, byID(a.getInstance)},
		{"destroy", "DELETE", "/instances/{id}", accessAdmin, nil, byID(a.destroyInstance)},
		{"wake", "POST", "/instances/{id}/wake", accessWake, nil, byID(a.wakeInstance)},
		{"doze", "POST", "/instances/{id}/doze", accessAdmin, nil, byID(a.dozeInstance)},
		{"stop", "POST", "/instances/{id}/stop", accessAdmin, nil, byID(a.stopInstance)},
		{"restart", "POST", "/instances/{id}/restart", accessRestart, nil, byID(a.restartInstance)},
		{"setWeight", "POST", "/instances/{id}/weight", accessAdmin, nil, byID(a.weighInstance)},
		{"deploy", "POST", "/instances/{id}/deploy", accessAdmin, nil, byID(a.deployInstance)},
		{"listServices", "GET", "/services", accessAdmin, nil, a.listServices},
		{"moveRequests", "POST", "/services/{service}/route", accessAdmin, nil, a.routeService},
		{"getRollout", "GET", "/services/{service}/rollout", accessAdmin, nil, a.getRollout},
		{"beginRollout", "POST", "/services/{service}/rollout", accessAdmin, nil, a.beginRollout},
		{"pauseRollout", "POST", "/services/{service}/rollout/pause", accessAdmin, nil, a.orderRollout("pause")},
		{"resumeRollout", "POST", "/services/{service}/rollout/resume", accessAdmin, nil, a.orderRollout("resume")},
		{"abortRollout", "POST", "/services/{service}/rollout/abort", accessAdmin, nil, a.orderRollout("abort")},
		{"rollBack", "POST", "/services/{service}/rollout/rollback", accessAdmin, nil, a.orderRollout("rollback")},
		{"followRollout", "GET", "/services/{service}/rollout/events", accessAdmin, nil, a.followRollout},
		{"listDomains", "GET", "/domains", accessAdmin, nil, a.listDomains},
		{"addDomain", "POST", "/domains", accessAdmin, nil, a.addDomain},
		{"verifyDomain", "POST", "/domains/{host}/verify", accessAdmin, nil, a.verifyDomain},
		{"removeDomain", "DELETE", "/domains/{host}", accessAdmin, nil, a.removeDomain},
		{"keepAwake", "POST", "/instances/{id}/keep-awake", accessAdmin, nil, byID(a.keepAwake)},
		{"getWhy", "GET", "/instances/{id}/why", accessOwner, nil, byID(a.getWhy)},
		{"getLimits", "GET", "/instances/{id}/limits", accessOwner, nil, byID(a.getLimits)},
		{"setLimits", "POST", "/instances/{id}/limits", accessAdmin, nil, byID(a.setLimits)},
		{"pause", "POST", "/instances/{id}/pause", accessAdmin, nil, byID(a.pause)},
		{"unpause", "DELETE", "/instances/{id}/pause", accessAdmin, nil, byID(a.unpause)},
		{"pauseService", "POST", "/services/{service}/pause", accessAdmin, nil, byService(a.pause)},
		{"unpauseService", "DELETE", "/services/{service}/pause", accessAdmin, nil, byService(a.unpause)},
		{"listSecrets", "GET", "/instances/{id}/secrets", accessAdmin, nil, byID(a.listSecrets)},
		{"setSecret", "PUT", "/instances/{id}/secrets/{secret}", accessAdmin, nil, byID(a.setSecret)},
		{"removeSecret", "DELETE", "/instances/{id}/secrets/{secret}", accessAdmin, nil, byID(a.removeSecret)},
		{"listServiceSecrets", "GET", "/services/{service}/secrets", accessAdmin, nil, byService(a.listSecrets)},
		{"setServiceSecret", "PUT", "/services/{service}/secrets/{secret}", accessAdmin, nil, byService(a.setSecret)},
		{"removeServiceSecret", "DELETE", "/services/{service}/secrets/{secret}", accessAdmin, nil, byService(a.removeSecret)},
		{"backUp", "GET", "/instances/{id}/backup", accessOwner, nil, byID(a.getBackup)},
		{"restore", "POST", "/instances/{id}/restore", accessAdmin, []string{"force", "keep_old", "outside_links"}, byID(a.postRestore)},
		{"import", "POST", "/import", accessAdmin, []string{"as", "data_only", "outside_links"}, a.postImport},
		{"getUsage", "GET", "/usage", accessKnown, []string{"month", "service", "instance"}, a.getUse},
		{"getLogs", "GET", "/instances/{id}/logs", accessOwner, logParameters, byID(a.getLogs)},
		{"getAllLogs", "GET", "/logs", accessKnown, append([]string{"service"}, logParameters...), a.getAllLogs},
		{"getHistory", "GET", "/history", accessKnown, append([]string{"service", "instance"}, logParameters...), a.getHistory},
		{"followEvents", "GET", "/events", accessKnown, []string{"after", "instance", "kind"}, a.followEvents},
		{"listTokens", "GET", "/tokens", accessAdmin, nil, a.listTokens},
		{"createToken", "POST", "/tokens", accessAdmin, nil, a.createToken},
		{"revokeToken", "DELETE", "/tokens/{token}", accessAdmin, nil, a.revokeToken},
	}
}

// newMux makes the routes, and routes for what they do not cover.
func (a *API) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range a.routes() {
		if rt.action == "" || rt.access == accessUndeclared || rt.serve == nil {
			panic("api: route " + rt.method + " " + rt.path + " does not declare what it needs")
		}
		mux.HandleFunc(rt.method+" "+Prefix+rt.path, a.handler(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(Prefix+path, a.handler(otherMethod(path, allowed)))
	}
	if a.metrics != nil {
		mux.HandleFunc("GET "+MetricsPath, a.handler(route{path: MetricsPath, access: accessAdmin, serve: func(w http.ResponseWriter, r *http.Request) error {
			a.metrics.ServeHTTP(w, r)
			return nil
		}}))
	}
	mux.HandleFunc("/", a.handler(route{path: "/", access: accessKnown, serve: noRoute}))
	return mux
}

// handler serves a route to those who may use it, and tells of what they change.
func (a *API) handler(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r, err := a.admit(r, rt.access)
		if err == nil && rt.method != "" {
			err = checkQuery(r.URL, rt.query)
		}
		if err == nil {
			err = a.noService(r, rt.serve(w, r))
			a.audit(rt, r, err)
		}
		if err != nil {
			a.fail(w, r, err)
		}
	}
}

// noService is the error of a request for an instance that is not there: to an admin it is
// that there is no such service, where there is none. Tenants are not told which there are.
func (a *API) noService(r *http.Request, err error) error {
	if tenant.CodeOf(err) != tenant.CodeNotFound || !who(r).admin {
		return err
	}
	id, iderr := pathID(r)
	if iderr != nil {
		return err
	}
	if none := a.instances.CheckService(id.Service); none != nil {
		return none
	}
	return err
}

// commands are the commands of those actions that are called otherwise.
var commands = map[string]string{
	"setWeight":           "weight",
	"moveRequests":        "route",
	"beginRollout":        "rollout",
	"pauseRollout":        "rollout pause",
	"resumeRollout":       "rollout resume",
	"abortRollout":        "rollout abort",
	"rollBack":            "rollback",
	"addDomain":           "domain add",
	"verifyDomain":        "domain verify",
	"removeDomain":        "domain rm",
	"keepAwake":           "keep-awake",
	"setLimits":           "limit",
	"pauseService":        "pause",
	"unpauseService":      "unpause",
	"setSecret":           "secret set",
	"removeSecret":        "secret rm",
	"setServiceSecret":    "secret set",
	"removeServiceSecret": "secret rm",
	"createToken":         "token gen",
	"revokeToken":         "token revoke",
}

// audited is what audit events call an action.
func audited(rt route) string { return cmp.Or(commands[rt.action], rt.action) }

// audit tells of a request that was to change something.
func (a *API) audit(rt route, r *http.Request, err error) {
	if rt.method == "" || rt.method == http.MethodGet {
		return
	}
	fields := []slog.Attr{slog.String("action", audited(rt))}
	if err != nil {
		_, public, _ := describe(err)
		fields = append(fields, slog.String("code", string(public.Code)))
	}
	p := who(r)
	id, iderr := pathID(r)
	if iderr != nil {
		id = p.about
	}
	a.events.Publish(event.Event{Kind: event.Audit, Instance: id, Actor: p.actor, Fields: fields})
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
	return route{path: path, access: accessKnown, serve: func(w http.ResponseWriter, r *http.Request) error {
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
