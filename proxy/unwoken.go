package proxy

import (
	"fmt"
	"net/http"
	"strconv"

	"tenement.dev/internal/tenant"
)

// unwokenAnswers are the answers to requests that do not wake their instance. Whoever
// asks whether a site is up is told so, since its next visitor will be served; the
// others are told to come back. None may be kept: they say nothing of the site.
var unwokenAnswers = map[tenant.Kinds]struct {
	status int
	retry  int // seconds, 0 for no Retry-After
}{
	tenant.KindUptime:   {http.StatusOK, 0},
	tenant.KindHead:     {http.StatusOK, 0},
	tenant.KindFavicon:  {http.StatusNoContent, 0},
	tenant.KindRobots:   {http.StatusServiceUnavailable, 3600},
	tenant.KindPrefetch: {http.StatusServiceUnavailable, 60},
	tenant.KindPreview:  {http.StatusServiceUnavailable, 60},
	tenant.KindCrawler:  {http.StatusServiceUnavailable, 3600},
}

// stateHeader tells of an answer that it is not the app's.
const stateHeader = "Tenement-State"

func (p *Proxy) answerUnwoken(w http.ResponseWriter, r *http.Request, u *tenant.Unwoken) {
	answer := unwokenAnswers[u.Kind]
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(stateHeader, u.State.String())
	if answer.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(answer.retry))
	}
	if answer.status == http.StatusNoContent {
		w.WriteHeader(answer.status)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "%s\n", u.State)
	}
}
