package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// act does what a form of an instance's page asks for: one request to the API.
func (d *Dashboard) act(w http.ResponseWriter, r *http.Request, s *session) error {
	id, action := r.PathValue("id"), r.PathValue("action")
	path := "/instances/" + url.PathEscape(id)
	form := r.PostForm
	method := http.MethodPost
	var body any
	var said string
	back := place(id)
	switch action {
	case "wake":
		path, said = path+"/wake", id+" is awake"
	case "doze":
		path, said = path+"/doze", id+" dozes"
	case "stop":
		path, said = path+"/stop", id+" is asleep"
	case "restart":
		path, said = path+"/restart", id+" was started again"
	case "destroy":
		if form.Get("name") != id {
			return invalid("the name does not fit", "write "+id+" to destroy it, its data included")
		}
		method, said, back = http.MethodDelete, id+" is destroyed", "/"
	case "keep-awake":
		d, err := readDuration(form.Get("for"))
		if err != nil {
			return err
		}
		path, body, said = path+"/keep-awake", wire.KeepAwakeRequest{ForMS: d.Milliseconds()}, id+" is kept awake"
		if d == 0 {
			said = "all leases on " + id + " have ended"
		}
	case "weight":
		weight, err := readWeight(form.Get("weight"))
		if err != nil {
			return err
		}
		path, body, said = path+"/weight", wire.WeightRequest{Weight: weight}, "the weight is set"
	case "limits":
		request, err := readLimits(form)
		if err != nil {
			return err
		}
		path, body, said = path+"/limits", request, "the limits hold"
	case "pause":
		d, err := readDuration(form.Get("for"))
		if err != nil {
			return err
		}
		path, body = path+"/pause", wire.PauseRequest{Message: form.Get("message"), ForMS: d.Milliseconds()}
		said = id + " is paused"
	case "unpause":
		method, path, said = http.MethodDelete, path+"/pause", id+" is not paused any more"
	case "add-domain":
		path, body = "/domains", wire.DomainRequest{Host: form.Get("host"), ID: id}
		said = form.Get("host") + " leads to " + id
	case "remove-domain":
		method, path = http.MethodDelete, "/domains/"+url.PathEscape(form.Get("host"))
		said = form.Get("host") + " is taken away"
	default:
		return d.nothing(w, r, s)
	}
	if err := d.ask(r, s.secret, method, path, body, nil); err != nil {
		return err
	}
	if back == "/" || action == "add-domain" || action == "remove-domain" {
		return d.again(w, r, back)
	}
	return d.done(w, r, s, back, said)
}

// again has the browser load a page, since more of it changes than a stream sends.
func (d *Dashboard) again(w http.ResponseWriter, r *http.Request, back string) error {
	if !fromHTMX(r) {
		http.Redirect(w, r, back, http.StatusSeeOther)
		return nil
	}
	w.Header().Set("HX-Redirect", back)
	w.WriteHeader(http.StatusOK)
	return nil
}

// readDuration reads what a form has as a time: "30m", "2h", "7d"; empty is 0.
func readDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, invalid(fmt.Sprintf("%.40q is not a time", text), "write it as 30m, 2h or 7d")
	}
	return d, nil
}

// readWeight reads a weight; empty takes it away.
func readWeight(text string) (*int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, invalid(fmt.Sprintf("%.40q is not a weight", text), "use 0 to 10000, or nothing for none")
	}
	return &n, nil
}

// readLimits reads the limits of a form: what is empty is the service's again. Memory and
// storage are in MiB.
func readLimits(form url.Values) (wire.LimitRequest, error) {
	request := wire.LimitRequest{Set: tenant.Limits{}}
	for name, list := range form {
		limit, ok := strings.CutPrefix(name, "limit-")
		if !ok {
			continue
		}
		text := strings.TrimSpace(list[0])
		if text == strings.TrimSpace(form.Get("was-"+limit)) {
			continue // as it was
		}
		key := tenant.Limit(limit)
		if text == "" {
			request.Reset = append(request.Reset, key)
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return request, invalid(fmt.Sprintf("%s: %.40q is not a number", limit, text), "use a whole number; 0 is no bound, and nothing is the service's")
		}
		if inBytes(key) {
			n <<= 20
		}
		request.Set[key] = n
	}
	return request, nil
}

func inBytes(l tenant.Limit) bool { return l == tenant.LimitMemory || l == tenant.LimitStorage }
