package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tenement.dev/internal/wire"
	pages "tenement.dev/templates/dashboard"
)

// signIn is what the page for it shows.
type signIn struct {
	Next   string
	Error  *wire.Error
	Secure bool // or the token goes over the network as it is
}

// sendToSignIn has the browser sign in, and come back.
func (d *Dashboard) sendToSignIn(w http.ResponseWriter, r *http.Request) {
	next := ""
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		next = "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	switch {
	case wantsStream(r):
		newStream(w).bye(signedOut)
	case fromHTMX(r):
		w.Header().Set("HX-Redirect", "/sign-in")
		w.WriteHeader(http.StatusUnauthorized)
	default:
		http.Redirect(w, r, "/sign-in"+next, http.StatusSeeOther)
	}
}

// local reports whether a place to go on at is one of this origin.
func local(next string) bool {
	u, err := url.Parse(next)
	return err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "//") && !strings.Contains(next, `\`)
}

func (d *Dashboard) getSignIn(w http.ResponseWriter, r *http.Request) {
	d.showSignIn(w, r, http.StatusOK, r.URL.Query().Get("next"), nil)
}

func (d *Dashboard) showSignIn(w http.ResponseWriter, r *http.Request, status int, next string, wrong *wire.Error) {
	host := r.Host
	if u, err := url.Parse("http://" + host); err == nil {
		host = u.Hostname()
	}
	here := host == "localhost" || host == "127.0.0.1" || host == "::1"
	if !local(next) {
		next = ""
	}
	if err := d.show(w, status, "signin", "page", view{Title: "Sign in", Body: signIn{next, wrong, here || d.secure(r)}}); err != nil {
		d.log.Error("dashboard page failed", "path", r.URL.Path, "err", err)
	}
}

// postSignIn makes a session of a token. The API counts what fails, by address.
func (d *Dashboard) postSignIn(w http.ResponseWriter, r *http.Request) {
	if err := readForm(w, r); err != nil {
		d.failSignIn(w, r, err)
		return
	}
	var self wire.Self
	secret := strings.TrimSpace(r.PostFormValue("token"))
	if strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' }) {
		secret = "malformed"
	}
	if err := d.ask(r, secret, http.MethodGet, "/self", nil, &self); err != nil {
		d.failSignIn(w, r, err)
		return
	}
	secure := d.secure(r)
	d.sessions.close(sessionName(r, secure))
	name, _ := d.sessions.open(secret, self, time.Now())
	setCookie(w, secure, name, sessionLife)
	next := r.PostFormValue("next")
	if !local(next) {
		next = "/"
	}
	d.log.Info("signed in to the dashboard", "token", self.Token, "actor", string(self.Actor))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (d *Dashboard) failSignIn(w http.ResponseWriter, r *http.Request, err error) {
	wrong := wire.Error{Message: "signing in did not work; the daemon's log says why"}
	var f *failure
	if errors.As(err, &f) {
		wrong = f.told
		if f.retry != "" {
			w.Header().Set("Retry-After", f.retry)
			wrong.Hint = fmt.Sprintf("try again in %s s; a good one is still taken", f.retry)
		}
	} else {
		d.log.Error("sign-in failed", "err", err)
	}
	d.showSignIn(w, r, statusOf(err), r.PostFormValue("next"), &wrong)
}

func (d *Dashboard) signOut(w http.ResponseWriter, r *http.Request, _ *session) error {
	secure := d.secure(r)
	d.sessions.close(sessionName(r, secure))
	setCookie(w, secure, "", -time.Second)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	return nil
}

// getAsset serves a script, a style or a picture. Pages name them by what is in them, so
// that browsers may keep them.
func (d *Dashboard) getAsset(w http.ResponseWriter, r *http.Request) {
	asset, ok := pages.Asset(r.PathValue("file"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", asset.Type)
	if r.URL.Query().Get("v") == asset.Version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(asset.Text) // or the client has gone
}
