package config

import (
	"fmt"
	"strings"
)

// about is what the reference says of a key: its type, its default where the schema has
// none or 0 means something, and its effect.
type about struct{ kind, standard, effect string }

// aboutSettings and the two below are about the keys of schema.go; a test holds them to be
// the same.
var aboutSettings = map[string]about{
	"data_dir":              {"path", "", "the directory of all instances' data and of the registry"},
	"domain":                {"host, or array", `"localhost"`, "the base domain: instances answer at `ID.SERVICE.DOMAIN`. Of an array, commands tell of the first. `--domain` comes before it"},
	"armed":                 {"number", "one for each 16 MB of memory, from 64 to 256", "how many of the most recently used sleepers have their sandbox ready, so that a wake starts the app and nothing else; 0 is none"},
	"doorbells":             {"number", "", "how many of the most recent sleepers stay loaded in systemd"},
	"health_check_interval": {"seconds", "", "the time between two checks of an awake instance's `health`"},
	"max_restarts":          {"number", "", "an instance has failed after more failures than that within `restart_window`"},
	"restart_window":        {"seconds", "", "see `max_restarts`"},
	"backoff_base_ms":       {"milliseconds", "", "the wait after the second failure, doubled for each further one"},
	"backoff_max_ms":        {"milliseconds", "", "the longest such wait"},
	"port_range":            {"A-B", "", "the TCP ports that apps are given"},
	"wake_concurrency":      {"number", "twice the processors", "how many instances may start at a time"},
	"max_waiting":           {"number", "", "how many requests may wait for instances in all; one service's get half at most"},
	"metrics_listen":        {"address", "nowhere", "serves Prometheus' metrics there without a token; the loopback only"},
	"metrics_per_instance":  {"true, false", "", "whether instances have series of their own"},
	"metrics_max_instances": {"number", "", "how many do: those that run, or ran last"},
	"trusted_proxies":       {"array of addresses", "nobody", "proxies in front, whose `X-Forwarded-*` headers and request ids are believed"},
	"public":                {"`\"https\"`, `\"http\"`, with `:PORT` if it is another", "as `ten serve` listens", "how people reach instances through the proxy in front: the URLs that commands, API and dashboard tell begin so"},
	"verify_domains":        {"true, false", "", "the owner of a host name has to agree, by a TXT record, before `ten domain add` has it served"},
	"dns_resolver":          {"address", "the system's", "who is asked for that record, such as `\"127.0.0.1:5353\"`"},
	"fast_path":             {"true, false", "", "false: net/http reads every request and passes it on, also those that are plain to read; slower"},
	"proxy_protocol":        {"true, false", "", "whether these may begin with the PROXY protocol"},
	"api_listen":            {"address", "nowhere", "serves the management API there to who has a token"},
	"api_domain":            {"true, false", "", "serves it at the base domain too"},
	"dashboard":             {"true, false", "", "serves the dashboard wherever `api_listen` and `api_domain` serve the API"},
	"tls":                   {"table", "none", "see below"},
}

var aboutTLS = map[string]about{
	"cert":              {"path, or array", "", "certificates of your own, which come before ACME's; read again when they change"},
	"key":               {"path, or array", "", "their keys"},
	"acme":              {"true, false", "", "certificates from Let's Encrypt, got with the first handshake for a host"},
	"email":             {"address", "", "where the authority may write to"},
	"staging":           {"true, false", "", "Let's Encrypt's test server"},
	"directory":         {"URL", "Let's Encrypt", "another ACME server"},
	"directory_ca":      {"path", "the system's", "the certificate that this server's own is checked with"},
	"orders_per_hour":   {"number", "", "how many certificates are ordered at most"},
	"orders_per_domain": {"number", "", "how many a week below one registered domain"},
	"redirect":          {"true, false", "", "sends plain HTTP to HTTPS"},
	"hsts":              {"seconds", "not at all", "how long browsers remember that"},
}

var aboutService = map[string]about{
	"command":              {"string", "required", "the program and its arguments: split into words once, never run by a shell"},
	"args":                 {"array", "", "further arguments, one each"},
	"env":                  {"table", "", "environment variables. `PORT`, `DATA_DIR`, `HOME` and the like are set without it"},
	"workdir":              {"path", "that of the file", "the working directory"},
	"release":              {"name", "", "the release to begin with, where `{release}` is used; rollouts give others"},
	"health":               {"path of a URL", "accepting connections", "must answer 200 before a woken instance gets requests, and as long as it is awake"},
	"isolation":            {"`process`, `namespace`, `sandbox`", "", "see [isolation](isolation.md)"},
	"network":              {"`host`, `private`", "", "`private`: a network of its own with nothing but a loopback"},
	"listen":               {"`port`, `unix`, `fd`", "", "where the app listens: on `$PORT`, on `$SOCKET_PATH`, or on descriptor 3 (sd_listen_fds(3))"},
	"socket":               {"path", "`app.sock` in its socket directory", "the socket, with `listen = \"unix\"`"},
	"user":                 {"account", "the daemon's", "who runs it, with `isolation = \"process\"`; needs root"},
	"bind_read_only_paths": {"array of paths", "none", "what stays visible although the isolation hides it"},
	"idle_timeout":         {"seconds", "never", "without work for so long it is stopped; the next request starts it"},
	"doze_timeout":         {"seconds", "never", "without work for so long it is frozen, and its memory given back; shorter than `idle_timeout`"},
	"keep_awake_max":       {"seconds", "", "the longest lease that an app may take with `Tenement-Keep-Awake`; 0 is none"},
	"busy_max":             {"seconds", "", "how long the use of the CPU alone keeps an instance awake; 0 is not at all"},
	"schedule":             {"array of calendar times", "none", "when instances are woken, such as `[\"hourly\", \"Mon..Fri 06:30\"]` (systemd.time(7))"},
	"schedule_path":        {"path of a URL", "none", "the POST request that they get then"},
	"startup_timeout":      {"seconds", "", "the app must accept connections within it"},
	"request_timeout":      {"seconds", "", "until the first byte of an answer, and before it until the app reads on in a body, else 504; 0 is no limit"},
	"waiting_page":         {"seconds", "", "how long a person's browser waits for a wake before it is shown a page; 0 is as long as it takes"},
	"stop_grace":           {"seconds", "", "for requests in flight to end, and again from SIGTERM to SIGKILL"},
	"memory_limit_mb":      {"MiB", "none", "memory, and as much of swap"},
	"cpu_quota":            {"percent of one CPU", "none", "as 50 or `\"150%\"`"},
	"cpu_shares":           {"1 to 10000", "100", "its weight among those that want the CPU"},
	"io_weight":            {"1 to 10000", "100", "its weight among those that want the disk"},
	"tasks_max":            {"number", "1024", "threads"},
	"nofile":               {"number", "8192", "open files of each process"},
	"storage_quota_mb":     {"MiB", "none", "data; see [limits](isolation.md#limits)"},
	"max_instances":        {"number", "no limit", "how many instances there may be; required with `on_demand`"},
	"max_in_flight":        {"number", "", "requests that an instance may have at a time, beyond it 503"},
	"no_wake":              {"array of kinds", "none", "requests that wake nobody: `uptime`, `head`, `favicon`, `robots`, `crawler`, `prefetch`, `preview`"},
	"on_demand":            {"true, false", "", "the first request for a name creates the instance"},
	"access_log":           {"true, false, `journal`, `json`", "", "an entry for each request: in the journal, or on standard output"},
	"access_log_query":     {"true, false", "", "with the query, which may hold secrets"},
	"error_pages":          {"path", "Tenement's", "a directory with the service's own pages"},
	"keepalive":            {"true, false", "", "false: a new connection to the app for each request"},
	"service_host":         {"true, false", "", "false: the service's own host name, `SERVICE.DOMAIN`, answers 404; so it should be where instances are customers, as any of them would answer there"},
	"sticky":               {"true, false", "", "a client of the service's own host name stays at one instance, by a cookie"},
	"storage_persist":      {"true, false", "", "false: `ten stop` removes the data"},
	"restart":              {"`on-failure`, `always`, `never`", "", "when an app that has ended is started again"},
}

// Reference is docs/configuration.md: every key, its default and its effect.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration: tenement.toml

This page is made from the program's own list of keys (` + "`make docs`" + `). ` + "`ten init`" + ` writes a file to begin with, ` + "`ten config check`" + `
finds all faults of one, ` + "`ten config show`" + ` shows what holds with the defaults, and ` + "`ten reload`" + ` has the daemon read it again.

` + "```sh" + `
ten config check
ten config show
` + "```" + `

Seconds are a number, or a text such as ` + "`\"5m\"`" + `. Relative paths are relative to the file. An unknown key is a fault.

In ` + "`command`, `args`, `workdir`, `socket`" + ` and the values of ` + "`env`" + ` these are filled in: ` + "`{id}`" + ` the instance's name, ` + "`{name}`" + ` the
service's, ` + "`{port}`, `{socket}`, `{release}`" + `, and ` + "`{data_dir}`" + `, the service's directory in ` + "`data_dir`" + `: so ` + "`{data_dir}/{id}`" + ` is the instance's
own. ` + "`{{`" + ` is a brace.
`)
	section(&b, "[settings]", "What holds for all.", settingsKeys, aboutSettings)
	section(&b, "[settings.tls]", "Serve HTTPS, see [TLS](tls.md).", tlsKeys, aboutTLS)
	section(&b, "[service.NAME]", "One for each service; its name is part of its instances' host names.", serviceKeys, aboutService)
	b.WriteString("\n## [instances]\n\nWho is created and started with the daemon, by service: `notes = [\"alice\", \"bob\"]`.\n")
	return b.String()
}

func section[T any](b *strings.Builder, title, text string, keys []key[T], of map[string]about) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| key | type | default | effect |\n|---|---|---|---|\n", title, text)
	for _, k := range keys {
		a := of[k.name]
		standard := a.standard
		if standard == "" && k.standard != nil {
			standard = strings.TrimPrefix(Setting{Key: "x", Value: k.standard}.TOML(), "x = ")
		}
		if strings.HasPrefix(standard, `"`) {
			standard = "`" + standard + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, a.kind, standard, a.effect)
	}
}
