package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

func TestClassify(t *testing.T) {
	p := &Proxy{agents: newAgentKinds()}
	for _, c := range []struct {
		method, path string
		header       []string
		want         tenant.Visit
	}{
		{"GET", "/", nil, tenant.Visit{}},
		{"GET", "/", []string{"User-Agent", "curl/8.5.0", "Accept", "*/*"}, tenant.Visit{}},
		{"GET", "/", []string{"User-Agent", firefox, "Accept", "text/html,application/xhtml+xml;q=0.9"}, tenant.Visit{Priority: tenant.PriorityPerson}},
		{"POST", "/api", []string{"User-Agent", firefox, "Sec-Fetch-Mode", "cors"}, tenant.Visit{Priority: tenant.PriorityPerson}},
		{"GET", "/", []string{"User-Agent", firefox, "Sec-Fetch-Dest", "document"}, tenant.Visit{Priority: tenant.PriorityPerson}},
		{"GET", "/", []string{"User-Agent", firefox, "Sec-Fetch-Mode", "navigate", "Sec-Purpose", "prefetch;prerender"}, tenant.Visit{Kinds: tenant.KindPrefetch}},
		{"GET", "/", []string{"User-Agent", firefox, "Accept", "text/html", "X-Moz", "prefetch"}, tenant.Visit{Kinds: tenant.KindPrefetch}},
		{"GET", "/", []string{"Purpose", "Preview"}, tenant.Visit{Kinds: tenant.KindPrefetch}},
		{"POST", "/", []string{"Purpose", "prefetch"}, tenant.Visit{}},
		{"HEAD", "/", nil, tenant.Visit{Kinds: tenant.KindHead}},
		{"GET", "/favicon.ico", []string{"User-Agent", firefox, "Sec-Fetch-Dest", "image"}, tenant.Visit{Priority: tenant.PriorityPerson, Kinds: tenant.KindFavicon}},
		{"GET", "/x/favicon.ico", nil, tenant.Visit{}},
		{"POST", "/favicon.ico", nil, tenant.Visit{}},
		{"GET", "/robots.txt", []string{"User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, tenant.Visit{Kinds: tenant.KindRobots | tenant.KindCrawler}},
		{"HEAD", "/", []string{"User-Agent", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "Accept", "text/html"}, tenant.Visit{Kinds: tenant.KindHead | tenant.KindUptime}},
		{"GET", "/", []string{"User-Agent", "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)"}, tenant.Visit{Kinds: tenant.KindUptime}},
		{"GET", "/", []string{"User-Agent", "Better Uptime Bot Mozilla/5.0 (Windows NT 10.0)"}, tenant.Visit{Kinds: tenant.KindUptime}},
		{"GET", "/", []string{"User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}, tenant.Visit{Kinds: tenant.KindPreview}},
		{"GET", "/", []string{"User-Agent", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"}, tenant.Visit{Kinds: tenant.KindPreview}},
		{"GET", "/", []string{"User-Agent", "WhatsApp/2.23.20.0 A"}, tenant.Visit{Kinds: tenant.KindPreview}},
		{"GET", "/", []string{"User-Agent", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"}, tenant.Visit{Kinds: tenant.KindPreview}},
		{"GET", "/", []string{"User-Agent", "TelegramBot (like TwitterBot)"}, tenant.Visit{Kinds: tenant.KindPreview}},
		{"GET", "/", []string{"User-Agent", strings.Repeat("x", 10_000) + "googlebot"}, tenant.Visit{}},
	} {
		r := httptest.NewRequest(c.method, "http://a.app.test"+c.path, nil)
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		if got := p.classify(r); got != c.want {
			t.Errorf("%s %s %.120q: got priority %d, kinds %q, want %d, %q", c.method, c.path, c.header, got.Priority, got.Kinds, c.want.Priority, c.want.Kinds)
		}
	}
}

// TestAgentsAreRemembered: what has been looked up is told for the same agent, and for no other.
func TestAgentsAreRemembered(t *testing.T) {
	known := newAgentKinds()
	for range 2 {
		for i := range 4 * len(known.slots) {
			agent, want := fmt.Sprintf("Mozilla/5.0 (%d)", i), tenant.Kinds(0)
			if i%2 == 0 {
				agent, want = agent+" Googlebot/2.1", tenant.KindCrawler
			}
			for range 2 {
				if got := known.kind(agent); got != want {
					t.Fatalf("%q: got %q, want %q", agent, got, want)
				}
			}
		}
	}
	agent := strings.Repeat("Mozilla/5.0 ", 20)
	if got := testing.AllocsPerRun(100, func() { known.kind(agent) }); got != 0 {
		t.Errorf("got %v allocations for the same agent", got)
	}
}

func TestAgentsAreLowerCase(t *testing.T) {
	for _, a := range agents {
		for _, name := range a.names {
			if name != strings.ToLower(name) || len(name) < 5 {
				t.Errorf("%q will never be found, or everywhere", name)
			}
		}
	}
}

func TestAnswersOfWhatIsNotWoken(t *testing.T) {
	for _, name := range tenant.KindNames() {
		kind, ok := tenant.ParseKind(name)
		if _, answered := unwokenAnswers[kind]; !ok || !answered {
			t.Fatalf("kind %s has no answer", name)
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			address, _ := serve(t, &backend{err: &tenant.Unwoken{Kind: kind, State: tenant.Dozing}}, nil)
			resp, body, err := get(t, address, method)
			if err != nil {
				t.Fatal(err)
			}
			want, retry := http.StatusServiceUnavailable, "60"
			switch kind {
			case tenant.KindUptime, tenant.KindHead:
				want, retry = http.StatusOK, ""
			case tenant.KindFavicon:
				want, retry = http.StatusNoContent, ""
			case tenant.KindRobots, tenant.KindCrawler:
				retry = "3600"
			}
			if resp.StatusCode != want || resp.Header.Get("Retry-After") != retry ||
				resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Tenement-State") != "dozing" {
				t.Errorf("%s %s: got %d %v, want %d", method, name, resp.StatusCode, resp.Header, want)
			}
			if silent := method == http.MethodHead || want == http.StatusNoContent; silent != (body == "") {
				t.Errorf("%s %s: got body %q", method, name, body)
			}
		}
	}
}
