package proxy

import (
	"hash/maphash"
	"net/http"
	"strings"
	"sync/atomic"

	"tenement.dev/internal/tenant"
)

// agents are parts of the User-Agent of programs that need nobody awake, in lower case.
var agents = []struct {
	kind  tenant.Kinds
	names []string
}{
	{tenant.KindUptime, []string{
		"uptimerobot", "pingdom", "statuscake", "better uptime", "betterstack", "better stack", "uptime-kuma", "site24x7",
		"hetrixtools", "freshping", "updown.io", "nodeping", "checkly", "datadogsynthetics", "googlestackdrivermonitoring",
		"oh dear", "ohdear",
	}},
	{tenant.KindPreview, []string{
		"slackbot", "slack-imgproxy", "twitterbot", "facebookexternalhit", "facebot", "whatsapp", "discordbot", "telegrambot",
		"linkedinbot", "skypeuripreview", "pinterestbot", "redditbot", "mastodon/", "iframely", "embedly", "vkshare",
		"bitlybot", "bluesky cardyb",
	}},
	{tenant.KindCrawler, []string{
		"googlebot", "bingbot", "yandexbot", "yandex.com/bots", "baiduspider", "duckduckbot", "applebot", "ahrefsbot", "semrushbot",
		"mj12bot", "dotbot", "petalbot", "bytespider", "gptbot", "oai-searchbot", "chatgpt-user", "claudebot", "anthropic-ai",
		"ccbot", "amazonbot", "perplexitybot", "meta-externalagent", "facebookbot", "seznambot", "sogou web spider", "exabot", "ia_archiver",
		"archive.org_bot", "dataforseobot", "barkrowler", "blexbot", "google-inspectiontool", "storebot-google", "censysinspect",
		"expanse", "zgrab", "internetmeasurement",
	}},
}

// classify tells from a request's head who waits for the answer and what it may be
// for. All of it is the client's word: it decides about turns and comfort, and never
// about rights.
func (p *Proxy) classify(r *http.Request) tenant.Visit {
	fetches := r.Method == http.MethodGet || r.Method == http.MethodHead
	return visitFor(r.Method, r.URL.Path, p.agents.kind(r.Header.Get("User-Agent")), fetches && prefetches(r.Header), browses(r.Header))
}

func visitFor(method, path string, agent tenant.Kinds, prefetches, browses bool) tenant.Visit {
	var v tenant.Visit
	if method == http.MethodHead {
		v.Kinds |= tenant.KindHead
	}
	if method == http.MethodGet || method == http.MethodHead {
		switch path {
		case "/favicon.ico":
			v.Kinds |= tenant.KindFavicon
		case "/robots.txt":
			v.Kinds |= tenant.KindRobots
		}
	}
	if prefetches {
		v.Kinds |= tenant.KindPrefetch
	}
	v.Kinds |= agent
	if agent == 0 && !prefetches && browses {
		v.Priority = tenant.PriorityPerson
	}
	return v
}

// prefetches reports whether a browser fetches what its user has not asked for
// (Fetch Standard, "Sec-Purpose"; the older names are of Chrome, Safari and Firefox).
func prefetches(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if value := strings.ToLower(h.Get(name)); strings.HasPrefix(value, "prefetch") || value == "preview" {
			return true
		}
	}
	return false
}

// browses reports whether a browser sent the request: one that shows a page says what
// it wants it for (Fetch Metadata Request Headers), older ones ask for HTML.
func browses(h http.Header) bool {
	return h.Get("Sec-Fetch-Mode") != "" || h.Get("Sec-Fetch-Dest") != "" || strings.Contains(h.Get("Accept"), "text/html")
}

// maxAgent is how much of a User-Agent is looked at.
const maxAgent = 512

// agentKinds remembers what the last User-Agents are, which mostly come again.
type agentKinds struct {
	seed  maphash.Seed
	slots [256]atomic.Pointer[knownAgent]
}

type knownAgent struct {
	agent string
	kind  tenant.Kinds
}

func newAgentKinds() *agentKinds { return &agentKinds{seed: maphash.MakeSeed()} }

func (k *agentKinds) kind(agent string) tenant.Kinds {
	if len(agent) > maxAgent {
		return agentKind(agent)
	}
	slot := &k.slots[maphash.String(k.seed, agent)%uint64(len(k.slots))]
	known := slot.Load()
	if known == nil || known.agent != agent {
		known = &knownAgent{strings.Clone(agent), agentKind(agent)}
		slot.Store(known)
	}
	return known.kind
}

func agentKind(agent string) tenant.Kinds {
	if agent == "" {
		return 0
	}
	agent = strings.ToLower(agent[:min(len(agent), maxAgent)])
	for _, a := range agents {
		for _, name := range a.names {
			if strings.Contains(agent, name) {
				return a.kind
			}
		}
	}
	return 0
}
