package dashboard

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	pages "tenement.dev/templates/dashboard"
)

// Instances tells of instances; *lifecycle.Manager does.
type Instances interface {
	// Glance tells little of every instance, of which there may be very many.
	Glance() iter.Seq2[tenant.ID, tenant.Glance]
	// Get tells more of one, and is an error where there is none.
	Get(id tenant.ID) (tenant.Snapshot, error)
}

// Options is what a Dashboard needs.
type Options struct {
	// API serves the management API to who has a token.
	API http.Handler
	// Last is the latest event's ID.
	Last func() event.ID
	// Instances and Use tell of instances, for the charts; either may be nil. What they say
	// of one is shown to who may see it.
	Instances Instances
	Use       func(id tenant.ID) (cpu time.Duration, memory int64, err error)
	// Secure reports whether a request came by TLS; nil is by its connection.
	Secure func(*http.Request) bool
	Log    *slog.Logger
}

// Dashboard is its handler. Run must run beside it.
type Dashboard struct {
	api      http.Handler
	last     func() event.ID
	secure   func(*http.Request) bool
	log      *slog.Logger
	mux      *http.ServeMux
	sessions sessions
	samples  *samples
}

// New makes a Dashboard.
func New(o Options) *Dashboard {
	d := &Dashboard{api: o.API, last: o.Last, secure: o.Secure, log: o.Log, mux: http.NewServeMux(), samples: newSamples(o.Instances, o.Use)}
	if d.secure == nil {
		d.secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	d.mux.HandleFunc("GET /assets/{file}", d.getAsset)
	d.mux.HandleFunc("GET /sign-in", d.getSignIn)
	d.mux.HandleFunc("POST /sign-in", d.postSignIn)
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, *session) error{
		"GET /{$}":                      d.getList,
		"GET /live":                     d.liveList,
		"POST /instances":               d.spawn,
		"GET /instances/{id}":           d.getInstance,
		"GET /instances/{id}/live":      d.liveInstance,
		"GET /instances/{id}/listen":    d.listen,
		"GET /instances/{id}/samples":   d.getSamples,
		"POST /instances/{id}/{action}": d.act,
		"GET /services":                 d.getServices,
		"GET /services/live":            d.liveServices,
		"POST /services/{service}/{do}": d.actOnService,
		"GET /rollouts":                 d.getRollouts,
		"GET /rollouts/live":            d.liveRollouts,
		"GET /events":                   d.getEvents,
		"GET /events/live":              d.liveEvents,
		"GET /tokens":                   d.getTokens,
		"POST /tokens":                  d.createToken,
		"POST /tokens/{token}/revoke":   d.revokeToken,
		"POST /sign-out":                d.signOut,
		"/":                             d.nothing,
	} {
		d.mux.HandleFunc(pattern, d.signedIn(serve))
	}
	return d
}

// Run takes the samples that charts show, until ctx ends.
func (d *Dashboard) Run(ctx context.Context) error { return d.samples.run(ctx) }

// policy lets pages use what is served here, and nothing else (CSP Level 3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	d.mux.ServeHTTP(w, r)
}

// maxForm bounds a form, in bytes, formTimeout the wait for it.
const (
	maxForm     = 64 << 10
	formTimeout = 10 * time.Second
)

// readForm reads a form that a page of this origin has sent.
func readForm(w http.ResponseWriter, r *http.Request) error {
	if !sameOrigin(r) {
		return &failure{status: http.StatusForbidden, told: wire.Error{
			Code: wire.CodeForbidden, Message: "this did not come from a page of the dashboard", Hint: "load the page again, and use that",
		}}
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(formTimeout)) // where it cannot be set the size is still bounded
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return invalid("the form cannot be read", "send it again")
	}
	return nil
}

func invalid(msg, hint string) error {
	return &failure{status: http.StatusBadRequest, told: wire.Error{Code: tenant.CodeInvalid, Message: msg, Hint: hint}}
}

// signedIn serves those who are signed in; the others are sent to the place for that.
func (d *Dashboard) signedIn(serve func(http.ResponseWriter, *http.Request, *session) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := sessionName(r, d.secure(r))
		found := d.sessions.find(name, time.Now())
		if found == nil {
			d.sendToSignIn(w, r)
			return
		}
		s := *found
		if err := d.ask(r, s.secret, http.MethodGet, "/self", nil, &s.self); err != nil {
			if statusOf(err) == http.StatusUnauthorized || statusOf(err) == http.StatusTooManyRequests {
				d.sessions.close(name) // the token was revoked, or has expired
				d.sendToSignIn(w, r)
				return
			}
			d.fail(w, r, &s, err)
			return
		}
		if r.Method == http.MethodPost {
			err := readForm(w, r)
			if err == nil && !s.saysWord(r) {
				err = &failure{status: http.StatusForbidden, told: wire.Error{
					Code: wire.CodeForbidden, Message: "this form is of another session", Hint: "load the page again, and use that",
				}}
			}
			if err != nil {
				d.fail(w, r, &s, err)
				return
			}
		}
		if err := serve(w, r, &s); err != nil {
			d.fail(w, r, &s, err)
		}
	}
}

func statusOf(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	return http.StatusInternalServerError
}

// fromHTMX reports whether a script of ours makes the request, which wants a part of a page.
func fromHTMX(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

// wantsStream reports whether a request is for a stream of what changes.
func wantsStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// view is what every page is given.
type view struct {
	Title string
	// Place is which of the places in the navigation this is.
	Place string
	Self  wire.Self
	Word  string
	// Body is the page's own.
	Body any
}

func (s *session) view(title, place string, body any) view {
	return view{Title: title, Place: place, Self: s.self, Word: s.word, Body: body}
}

// show answers with a page, or with the part of it that is named.
func (d *Dashboard) show(w http.ResponseWriter, status int, page, part string, data any) error {
	text, err := pages.Render(page, part, data)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // or the client has gone
	return nil
}

// fail answers with what has gone wrong.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, s *session, err error) {
	var f *failure
	if !errors.As(err, &f) {
		d.log.Error("dashboard page failed", "path", r.URL.Path, "err", err)
		f = &failure{status: http.StatusInternalServerError, told: wire.Error{
			Code: tenant.CodeInternal, Message: "the page could not be made; the daemon's log says why",
		}}
	}
	if f.retry != "" {
		w.Header().Set("Retry-After", f.retry)
	}
	part := "page"
	if fromHTMX(r) {
		part = "notice"
	}
	if err := d.show(w, f.status, "failure", part, s.view("That did not work", "", notice{Bad: true, Error: f.told})); err != nil {
		d.log.Error("dashboard page failed", "path", r.URL.Path, "err", err)
	}
}

// notice says what has become of an action.
type notice struct {
	Bad bool
	wire.Error
}

// done answers an action: by a word, or, without a script, by the page to go on with.
func (d *Dashboard) done(w http.ResponseWriter, r *http.Request, s *session, back, text string) error {
	if !fromHTMX(r) {
		http.Redirect(w, r, back, http.StatusSeeOther)
		return nil
	}
	return d.show(w, http.StatusOK, "failure", "notice", s.view("", "", notice{Error: wire.Error{Message: text}}))
}

func (d *Dashboard) nothing(http.ResponseWriter, *http.Request, *session) error {
	return &failure{status: http.StatusNotFound, told: wire.Error{Code: tenant.CodeNotFound, Message: "there is no such page", Hint: "the list of instances is a good place to start"}}
}
