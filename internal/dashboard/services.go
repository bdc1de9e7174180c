package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/wire"
)

func (d *Dashboard) services(r *http.Request, s *session) ([]wire.Service, error) {
	var got wire.Services
	err := d.ask(r, s.secret, http.MethodGet, "/services", nil, &got)
	return got.Services, err
}

func (d *Dashboard) getServices(w http.ResponseWriter, r *http.Request, s *session) error {
	list, err := d.services(r, s)
	if err != nil {
		return err
	}
	return d.show(w, http.StatusOK, "services", "page", s.view("Services", "services", list))
}

func (d *Dashboard) liveServices(w http.ResponseWriter, r *http.Request, s *session) error {
	return d.live(w, r, s, []string{query("/events", url.Values{"kind": {listEvents + ",reloaded"}})}, func() ([]part, error) {
		list, err := d.services(r, s)
		if err != nil {
			return nil, err
		}
		var made []part
		for _, one := range list {
			html, err := piece("services", "numbers", one)
			if err != nil {
				return nil, err
			}
			made = append(made, part{id: "numbers-" + one.Name, html: html})
		}
		return made, nil
	}, nil)
}

// rollouts is what the page of them shows.
type rollouts struct {
	List []rollout
	// Services are those that have releases, to begin one.
	Services []wire.Service
}

type rollout struct {
	wire.Rollout
	Word string
}

// Percent is how far it is.
func (r rollout) Percent() int {
	if r.Instances == 0 {
		return 100
	}
	return 100 * r.Changed / r.Instances
}

func (d *Dashboard) rollouts(r *http.Request, s *session) (rollouts, error) {
	var all rollouts
	list, err := d.services(r, s)
	if err != nil {
		return all, err
	}
	for _, one := range list {
		if one.Release == "" {
			continue
		}
		all.Services = append(all.Services, one)
		got := rollout{Word: s.word}
		err := d.ask(r, s.secret, http.MethodGet, "/services/"+url.PathEscape(one.Name)+"/rollout", nil, &got.Rollout)
		switch {
		case err == nil:
			all.List = append(all.List, got)
		case statusOf(err) != http.StatusNotFound:
			return all, err
		}
	}
	return all, nil
}

func (d *Dashboard) getRollouts(w http.ResponseWriter, r *http.Request, s *session) error {
	all, err := d.rollouts(r, s)
	if err != nil {
		return err
	}
	return d.show(w, http.StatusOK, "rollouts", "page", s.view("Rollouts", "rollouts", all))
}

func (d *Dashboard) liveRollouts(w http.ResponseWriter, r *http.Request, s *session) error {
	path := query("/events", url.Values{"kind": {"rollout"}, "after": {d.recent(shownEvents)}})
	return d.live(w, r, s, []string{path}, func() ([]part, error) {
		all, err := d.rollouts(r, s)
		if err != nil {
			return nil, err
		}
		html, err := piece("rollouts", "list", all)
		return []part{{id: "rollouts", html: html}}, err
	}, eventLines)
}

// actOnService does what a form about a service asks for.
func (d *Dashboard) actOnService(w http.ResponseWriter, r *http.Request, s *session) error {
	service, form := r.PathValue("service"), r.PostForm
	path := "/services/" + url.PathEscape(service)
	method := http.MethodPost
	var body any
	var said string
	back := "/services"
	switch action := r.PathValue("do"); action {
	case "pause":
		length, err := readDuration(form.Get("for"))
		if err != nil {
			return err
		}
		path, body = path+"/pause", wire.PauseRequest{Message: form.Get("message"), ForMS: length.Milliseconds()}
		said = service + " is paused"
	case "unpause":
		method, path, said = http.MethodDelete, path+"/pause", service+" is not paused any more"
	case "rollout":
		plan, err := readPlan(form)
		if err != nil {
			return err
		}
		path, body, back, said = path+"/rollout", plan, "/rollouts", "the rollout has begun"
	case "pause-rollout", "resume-rollout", "abort-rollout", "rollback-rollout":
		order := strings.TrimSuffix(action, "-rollout")
		path, back, said = path+"/rollout/"+order, "/rollouts", order+": it is done"
	default:
		return d.nothing(w, r, s)
	}
	if err := d.ask(r, s.secret, method, path, body, nil); err != nil {
		return err
	}
	return d.done(w, r, s, back, said)
}

// readPlan reads the form that begins a rollout.
func readPlan(form url.Values) (wire.RolloutRequest, error) {
	request := wire.RolloutRequest{Release: strings.TrimSpace(form.Get("release"))}
	if canary := strings.TrimSpace(form.Get("canary")); canary != "" {
		if percent, ok := strings.CutSuffix(canary, "%"); ok {
			n, err := strconv.ParseFloat(percent, 64)
			if err != nil {
				return request, invalid("the canary is no share", "write 5%, or names with commas between")
			}
			request.CanaryPercent = n
		} else {
			for name := range strings.SplitSeq(canary, ",") {
				request.Canary = append(request.Canary, strings.TrimSpace(name))
			}
		}
	}
	if text := strings.TrimSpace(form.Get("batch")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return request, invalid("the batch is no number", "write 5")
		}
		request.Batch = n
	}
	pause, err := readDuration(form.Get("pause"))
	if err != nil {
		return request, err
	}
	if form.Get("pause") == "" {
		pause = 5 * time.Second // as the command has it
	}
	request.PauseMS = float64(pause.Milliseconds())
	return request, nil
}
