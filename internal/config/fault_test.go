package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// TestFaults pairs texts with all that is wrong with them. S stands for a service
// that is right up to then, on lines 1 and 2.
func TestFaults(t *testing.T) {
	const S = "[service.notes]\ncommand = \"app\"\n"
	const P = S + "isolation = \"process\"\n"
	const B = S + "isolation = \"sandbox\"\n"
	for _, test := range []struct{ name, text, want string }{
		// TOML
		{"not TOML", "[service.notes\n", "1: expected '.' or ']' to end table name, but got '\\n' instead"},
		{"byte order mark", "\ufeff[service.notes]\ncommand = \"app\"\nhelth = 1\n", `3: service.notes.helth: unknown key; did you mean "health"?`},
		{"no value", S + "health = \n", "3: expected value but found '\\n' instead"},
		{"twice", S + "command = \"app\"\n", "3: key 'service.notes.command' has already been defined"},
		{"table twice", S + "[service.notes]\n", "3: key 'service.notes' has already been defined"},
		{"huge", S + "idle_timeout = 99999999999999999999\n", "3: 99999999999999999999 is out of range for int64"},

		// Unknown names
		{"near key", S + "helth = \"/\"\n", `3: service.notes.helth: unknown key; did you mean "health"?`},
		{"swapped letters", S + "ilde_timeout = 3\n", `3: service.notes.ilde_timeout: unknown key; did you mean "idle_timeout"?`},
		{"hyphen", S + "idle-timeout = 3\n", `3: service.notes.idle-timeout: unknown key; did you mean "idle_timeout"?`},
		{"capital", S + "Health = \"/\"\n", `3: service.notes.Health: unknown key; did you mean "health"?`},
		{"far setting", "[settings]\ncolour = 1\n", "2: settings.colour: unknown key; known: " + strings.Join(names(settingsKeys), ", ")},
		{"wrong table", S + "data_dir = \"x\"\n[settings]\nidle_timeout = 3\n", `3: service.notes.data_dir: unknown key; it belongs in [settings]
5: settings.idle_timeout: unknown key; it belongs in [service.NAME]`},
		{"no table", "data_dir = \"x\"\nhealth = \"/\"\n", `1: data_dir: unknown key; it belongs in [settings]
2: health: unknown key; it belongs in [service.NAME]`},
		{"near table", "[services.notes]\ncommand = \"app\"\n", `1: services: unknown table; did you mean "service"?`},
		{"bare service", "[notes]\ncommand = \"app\"\n", `1: notes: unknown table; write [service.notes] for a service`},
		{"subtable", S + "[service.notes.limits]\nx = 1\n", "3: service.notes.limits: unknown table; known: " + strings.Join(names(serviceKeys), ", ")},
		{"nameless service", "[service]\ncommand = \"app\"\n", "2: service.command: expected the name of a service; write [service.NAME] above it"},
		{"double brackets", "[[service.notes]]\ncommand = \"app\"\n", "1: service.notes: expected a table, found an array of tables; write [service.notes], with single brackets"},
		{"quoted key", S + "\"a b\" = 1\n", `3: service.notes."a b": unknown key; known: ` + strings.Join(names(serviceKeys), ", ")},
		{"service label", "[service.My_App]\ncommand = \"app\"\n", `1: service.My_App: "My_App" is not a valid service name; use 1 to 63 lower-case letters, digits and inner hyphens, as in a host name`},

		// Types
		{"string", S + "health = 1\n", "3: service.notes.health: expected a string, found an integer"},
		{"strings", S + "args = \"x\"\n", "3: service.notes.args: expected an array of strings, found a string"},
		{"element", S + "args = [\n \"x\",\n # two\n 2,\n]\n", "6: service.notes.args: expected a string, found an integer"},
		{"bool", S + "keepalive = \"no\"\n", "3: service.notes.keepalive: expected true or false, found a string"},
		{"integer", S + "cpu_shares = 1.5\n", "3: service.notes.cpu_shares: expected an integer, found a float"},
		{"command type", "[service.notes]\ncommand = true\n", "2: service.notes.command: expected a string or an array of strings, found a boolean"},
		{"table", S + "env = \"A=1\"\n", "3: service.notes.env: expected a table, found a string"},
		{"settings", "settings = 3\n", "1: settings: expected a table, found an integer"},
		{"date", S + "workdir = 2020-01-01\n", "3: service.notes.workdir: expected a string, found a date or time"},
		{"NUL", S + "workdir = \"a\\u0000\"\n", "3: service.notes.workdir: a NUL character cannot be in here"},

		// Releases
		{"no release", "[service.notes]\ncommand = \"app --version {release}\"\nworkdir = \"{release}\"\n", "2: service.notes.command: {release} is used, and there is no release to begin with; add release = \"v1\", or what it is called; `ten rollout` changes it"},
		{"no release in env", S + "[service.notes.env]\nV = \"{release}\"\n", "3: service.notes.env: {release} is used, and there is no release to begin with; add release = \"v1\", or what it is called; `ten rollout` changes it"},
		{"unused release", S + "release = \"v1\"\n", "3: service.notes.release: nothing uses it; write {release} in command, args, workdir or env, such as workdir = \"/srv/notes/{release}\""},
		{"path as release", S + "release = \"../v1\"\nargs = [\"{release}\"]\n", "3: service.notes.release: \"../v1\" is not the name of a release; use 1 to 64 letters, digits, dots, hyphens, underscores and plus signs, a letter or digit first, and no two dots together"},

		// Numbers and words
		{"low", S + "cpu_shares = 0\n", "3: service.notes.cpu_shares: 0 is out of range; use 1 to 10000"},
		{"high", S + "cpu_shares = 10001\n", "3: service.notes.cpu_shares: 10001 is out of range; use 1 to 10000"},
		{"memory", S + "memory_limit_mb = 9223372036854775807\n", "3: service.notes.memory_limit_mb: 9223372036854775807 is out of range; use 1 to 8796093022207"},
		{"storage", S + "storage_quota_mb = 0\n", "3: service.notes.storage_quota_mb: 0 is out of range; use 1 to 8796093022207"},
		{"files", S + "nofile = 10\n", "3: service.notes.nofile: 10 is out of range; use 64 to 1048576"},
		{"percent", S + "cpu_quota = \"much\"\n", "3: service.notes.cpu_quota: \"much\" is not a percentage; write percent of one CPU, such as 50 or \"150%\""},
		{"no percent", S + "cpu_quota = \"0%\"\n", "3: service.notes.cpu_quota: 0 is out of range; use 1 to 1000000"},
		{"half a percent", S + "cpu_quota = 0.5\n", "3: service.notes.cpu_quota: expected percent of one CPU, such as 50 or \"150%\", found a float"},
		{"threads", S + "tasks_max = 3\n", "3: service.notes.tasks_max: 3 is out of range; use 16 to 2147483647"},
		{"no room", S + "max_in_flight = 0\n", "3: service.notes.max_in_flight: 0 is out of range; use 1 to 1000000"},
		{"no kind", S + "no_wake = [\"head\", \"robot\"]\n", "3: service.notes.no_wake: unknown value \"robot\"; use \"uptime\", \"head\", \"favicon\", \"robots\", \"prefetch\", \"preview\" or \"crawler\""},
		{"kind alone", S + "no_wake = \"head\"\n", "3: service.notes.no_wake: expected an array of strings, found a string"},
		{"no instances", S + "max_instances = 0\n", "3: service.notes.max_instances: 0 is out of range; use 1 to 1000000"},
		{"doorbells", "[settings]\ndoorbells = -1\n", "2: settings.doorbells: -1 is out of range; use 0 to 100000"},
		{"isolation", S + "isolation = \"none\"\n", `3: service.notes.isolation: unknown value "none"; use "process", "namespace" or "sandbox"`},
		{"listen", S + "listen = \"tcp\"\n", `3: service.notes.listen: unknown value "tcp"; use "port", "unix" or "fd"`},
		{"network", S + "network = false\n", `3: service.notes.network: expected "host" or "private", found a boolean`},
		{"ports", "[settings]\nport_range = \"30000\"\n", `2: settings.port_range: "30000" is not a range of ports; write the first and the last, within 1024 to 65535, such as "30000-32767"`},
		{"ports back", "[settings]\nport_range = \"4000-3000\"\n", `2: settings.port_range: "4000-3000" is not a range of ports; write the first and the last, within 1024 to 65535, such as "30000-32767"`},
		{"ports low", "[settings]\nport_range = \"80-90\"\n", `2: settings.port_range: "80-90" is not a range of ports; write the first and the last, within 1024 to 65535, such as "30000-32767"`},
		{"api_listen", "[settings]\napi_listen = \"localhost:9090\"\n", `2: settings.api_listen: "localhost:9090" is not an IP address and a port; write it as "127.0.0.1:9090" or "[::1]:9090"`},
		{"api_listen port", "[settings]\napi_listen = 9090\n", `2: settings.api_listen: expected a string such as "127.0.0.1:9090", found an integer`},
		{"ports number", "[settings]\nport_range = 3000\n", `2: settings.port_range: expected a string such as "30000-32767", found an integer`},

		{"no domain", "[settings]\ndomain = [\"a.example\",\n  \"b_c.example\"]\n", `3: settings.domain: "b_c.example" is not a domain; write a name such as example.com or localhost`},
		{"domain twice", "[settings]\ndomain = [\"a.example\", \"A.example.\"]\n", `2: settings.domain: "a.example" is there twice`},
		{"domain of nothing", "[settings]\ndomain = \"\"\n", `2: settings.domain: "" is not a domain; write a name such as example.com or localhost`},
		{"empty domains", "[settings]\ndomain = []\n", `2: settings.domain: there is no domain in it; write a name such as example.com`},
		{"metrics for all", "[settings]\nmetrics_listen = \"0.0.0.0:9464\"\n", `2: settings.metrics_listen: 0.0.0.0:9464 can be reached from other machines, which would learn the names of all instances; use the loopback, such as "127.0.0.1:9464", and a proxy or an agent on this machine`},
		{"metrics nowhere", "[settings]\nmetrics_listen = \"9464\"\n", `2: settings.metrics_listen: "9464" is not an IP address with a port; write it as "127.0.0.1:9464"`},
		{"proxies", "[settings]\ntrusted_proxies = [\"10.0.0.1\", \"caddy\"]\n", `2: settings.trusted_proxies: "caddy" is not an IP address or a network; write it as "192.0.2.7" or "192.0.2.0/24"`},
		{"public", "[settings]\npublic = \"https://example.com\"\n", `2: settings.public: "https://example.com" is not how people reach a site; write "https", or "https:8443" where the port is another one`},
		{"public port", "[settings]\npublic = \"http:0\"\n", `2: settings.public: "http:0" is not how people reach a site; write "https", or "https:8443" where the port is another one`},
		{"public scheme", "[settings]\npublic = \"ftp:21\"\n", `2: settings.public: "ftp:21" is not how people reach a site; write "https", or "https:8443" where the port is another one`},
		{"public kind", "[settings]\npublic = true\n", `2: settings.public: expected a string such as "https", found a boolean`},
		{"proxy protocol", "[settings]\nproxy_protocol = true\n", `2: settings.proxy_protocol: nobody may use it; name the proxies in front: trusted_proxies = ["10.0.0.1"]`},
		{"resolver", "[settings]\ndns_resolver = \"dns.example\"\n", `2: settings.dns_resolver: "dns.example" is not an IP address and a port; write it as "127.0.0.1:53" or "[::1]:53"`},
		{"proxies alone", "[settings]\ntrusted_proxies = \"10.0.0.1\"\n", `2: settings.trusted_proxies: expected an array of strings, found a string`},

		// Durations
		{"negative", S + "idle_timeout = -1\n", "3: service.notes.idle_timeout: a duration cannot be negative"},
		{"negative float", S + "idle_timeout = -0.5\n", "3: service.notes.idle_timeout: a duration cannot be negative"},
		{"negative string", S + "idle_timeout = \"-5m\"\n", "3: service.notes.idle_timeout: a duration cannot be negative"},
		{"long", S + "idle_timeout = 315360001\n", "3: service.notes.idle_timeout: longer than ten years"},
		{"overflow", S + "idle_timeout = 9223372036854775807\n", "3: service.notes.idle_timeout: longer than ten years"},
		{"infinite", S + "idle_timeout = inf\n", "3: service.notes.idle_timeout: longer than ten years"},
		{"nan", S + "idle_timeout = nan\n", `3: service.notes.idle_timeout: expected seconds or a string such as "5m", found a float`},
		{"tiny", S + "idle_timeout = 1e-12\n", "3: service.notes.idle_timeout: shorter than a millisecond"},
		{"unit", S + "idle_timeout = \"5 min\"\n", `3: service.notes.idle_timeout: "5 min" is not a duration; write seconds, or a string such as "5m", "1h30m" or "250ms"`},
		{"bool for duration", S + "idle_timeout = true\n", `3: service.notes.idle_timeout: expected seconds or a string such as "5m", found a boolean`},
		{"zero", S + "startup_timeout = 0\nstop_grace = 0.0\n", `3: service.notes.startup_timeout: a duration of 0 makes no sense here
4: service.notes.stop_grace: a duration of 0 makes no sense here`},
		{"backoff type", "[settings]\nbackoff_base_ms = \"1s\"\n", "2: settings.backoff_base_ms: expected an integer of milliseconds, found a string"},
		{"backoff overflow", "[settings]\nbackoff_max_ms = 9223372036854775807\n", "2: settings.backoff_max_ms: longer than ten years"},
		{"backoff order", "[settings]\nbackoff_base_ms = 2000\nbackoff_max_ms = 1000\n", "3: settings.backoff_max_ms: backoff_base_ms is more than backoff_max_ms"},
		{"backoff base", "[settings]\nbackoff_base_ms = 60001\n", "2: settings.backoff_base_ms: backoff_base_ms is more than backoff_max_ms"},
		{"restart", S + "restart = \"sometimes\"\n", `3: service.notes.restart: unknown value "sometimes"; use "on-failure", "always" or "never"`},
		{"interval", "[settings]\nhealth_check_interval = 0\n", "2: settings.health_check_interval: a duration of 0 makes no sense here"},
		{"doze", S + "idle_timeout = 60\ndoze_timeout = \"1m\"\n", "4: service.notes.doze_timeout: not shorter than idle_timeout (1m0s), so an instance would never doze; make it shorter, or leave it out"},

		// TLS
		{"tls without", "[settings.tls]\n", "1: settings.tls: there is no certificate; set cert and key, or acme = true"},
		{"tls key", "[settings.tls]\ncert = \"a.crt\"\n", "2: settings.tls.cert: there are 1 certificates and 0 keys; give each certificate its key, in the same order"},
		{"tls keys", "[settings.tls]\ncert = \"a.crt\"\nkey = [\"a.key\", \"b.key\"]\n", "3: settings.tls.key: there are 1 certificates and 2 keys; give each certificate its key, in the same order"},
		{"tls email", "[settings.tls]\ncert = \"a.crt\"\nkey = \"a.key\"\nemail = \"a@b\"\n", "4: settings.tls.email: it is for acme = true only"},
		{"tls directory", "[settings.tls]\nacme = true\ndirectory = \"http://ca\"\nstaging = true\n", `3: settings.tls.directory: "http://ca" is not the URL of an ACME server; it begins with https://
4: settings.tls.staging: directory names another server; leave one of them out`},
		{"tls unknown", "[settings.tls]\nacme = true\nemial = \"a@b\"\n", "3: settings.tls.emial: unknown key; did you mean \"email\"?"},
		{"tls flag", "[settings]\ntls = true\n", "2: settings.tls: expected a table, found a boolean"},

		// Commands
		{"no command", "[service.web.env]\nA = \"1\"\n[service.notes]\n", `1: service.web: a service needs a command; add command = "python3 app.py", or what it is
3: service.notes: a service needs a command; add command = "python3 app.py", or what it is`},
		{"empty command", "[service.notes]\ncommand = \" \"\n", `2: service.notes.command: the command is empty; write what to run, such as "python3 app.py"`},
		{"no words", "[service.notes]\ncommand = []\n", `2: service.notes.command: the command is empty; write what to run, such as "python3 app.py"`},
		{"pipe", "[service.notes]\ncommand = \"app | tee\"\n", `2: service.notes.command: "|" is for a shell, and commands run without one; quote it, put the command in a script, or use bash -c '...'`},
		{"not found", "[service.notes]\ncommand = \"uv run x\"\n", "2: service.notes.command: command not found: uv (service notes); looked in DIR/bin; install it there, or set PATH in [service.notes.env]"},
		{"own path", "[service.notes]\ncommand = \"app\"\nenv.PATH = \"app:/nonexistent\"\n", "2: service.notes.command: command not found: app (service notes); looked in app:/nonexistent; install it there, or set PATH in [service.notes.env]"},
		{"not executable", "[service.notes]\ncommand = \"data\"\n", "2: service.notes.command: DIR/bin/data: not executable (service notes); chmod +x DIR/bin/data, or put its interpreter before it"},
		{"file not found", "[service.notes]\ncommand = \"./start\"\n", "2: service.notes.command: command not found: ./start (service notes); there is no DIR/start"},
		{"directory", "[service.notes]\ncommand = \"./app\"\n", "2: service.notes.command: DIR/app: is a directory (service notes)"},
		{"assignment", "[service.notes]\ncommand = \"PORT=3000 app\"\n", "2: service.notes.command: command not found: PORT=3000 (service notes); set PORT in [service.notes.env]"},
		{"in data", "[service.notes]\ncommand = \"data/run\"\n", "2: service.notes.command: command not found: data/run (service notes); there is no DIR/data/run"},
		{"data is dir", "[settings]\ndata_dir = \"app\"\n[service.notes]\ncommand = \"app/run\"\n", "4: service.notes.command: DIR/app/run lies in settings.data_dir, where an instance sees only its own directory; keep the two apart"},

		// Placeholders
		{"placeholder", S + "args = [\n\"x\",\n\"{nme}\"]\n", "5: service.notes.args: unknown placeholder {nme}; did you mean {name}? known: {name} {id} {data_dir} {port} {socket} {release}; write {{nme}} for {nme} itself"},
		{"far placeholder", "[service.notes]\ncommand = \"app {HOSTNAME}\"\n", "2: service.notes.command: unknown placeholder {HOSTNAME}; known: {name} {id} {data_dir} {port} {socket} {release}; write {{HOSTNAME}} for {HOSTNAME} itself"},
		{"shell variable", "[service.notes]\ncommand = \"app '${id}'\"\n", "2: service.notes.command: ${id} is neither a shell's variable nor a placeholder; write {id} for the placeholder, ${{id}} for the variable"},
		{"unknown shell variable", "[service.notes]\ncommand = \"app '${HOME}'\"\n", "2: service.notes.command: unknown placeholder {HOME}; known: {name} {id} {data_dir} {port} {socket} {release}; write {{HOME}} for {HOME} itself"},
		{"port with unix", S + "listen = \"unix\"\nargs = [\"{port}\"]\n", `4: service.notes.args: {port} is known with listen = "port" only, and listen is "unix"`},
		{"socket with port", S + "env.A = \"{socket}\"\n", `3: service.notes.env.A: {socket} is known with listen = "unix" only, and listen is "port"`},
		{"both with fd", S + "listen = \"fd\"\nenv.A = \"{socket}{port}\"\n", `4: service.notes.env.A: {port} is known with listen = "port" only, and listen is "fd"`},
		{"all data", S + "env.DATA_DIR = \"{data_dir}\"\n", `3: service.notes.env.DATA_DIR: {data_dir} without /{id} behind it: an instance sees only its own directory there; write {data_dir}/{id}, or use isolation = "process"`},
		{"workdir data", S + "workdir = \"{data_dir}/{id}/../bob\"\n", `3: service.notes.workdir: {data_dir} without /{id} behind it: an instance sees only its own directory there; write {data_dir}/{id}, or use isolation = "process"`},

		// Environment
		{"PORT", S + "[service.notes.env]\nPORT = \"80\"\n", `4: service.notes.env.PORT: is set by Tenement; leave it out, or write {port} where the port is needed, with listen = "port"`},
		{"SOCKET_PATH", S + "env.SOCKET_PATH = \"x\"\n", `3: service.notes.env.SOCKET_PATH: is set by Tenement; leave it out, or write {socket} where the path is needed, with listen = "unix"`},
		{"variable", S + "[service.notes.env]\nA = \"1\"\n\"b-c\" = \"x\"\n1A = \"x\"\n", `5: service.notes.env.b-c: not a variable's name; use letters, digits and underscores, and no digit first
6: service.notes.env.1A: not a variable's name; use letters, digits and underscores, and no digit first`},
		{"number in env", S + "env = { A = 1 }\n", "3: service.notes.env.A: expected a string, found an integer; write it in quotes"},
		{"table in env", S + "env.A.B = \"x\"\n", "3: service.notes.env.A: expected a string, found a table"},

		// Sockets
		{"socket with port only", S + "socket = \"a.sock\"\n", `3: service.notes.socket: goes with listen = "unix", and listen is "port"; add listen = "unix", or leave socket out`},
		{"socket outside", S + "listen = \"unix\"\nsocket = \"/tmp/a.sock\"\n", `4: service.notes.socket: socket /tmp/a.sock is not in the instance's own directory; write "{data_dir}/{id}/app.sock", or only "app.sock" for one in its socket directory`},
		{"socket up", S + "listen = \"unix\"\nsocket = \"../a.sock\"\n", `4: service.notes.socket: socket ../a.sock is not in the instance's own directory; write "{data_dir}/{id}/app.sock", or only "app.sock" for one in its socket directory`},
		{"socket in socket", S + "listen = \"unix\"\nsocket = \"{socket}\"\n", "4: service.notes.socket: {socket}, {port} and {release} are not known here; use {name}, {id} or {data_dir}"},
		{"listen wrong", S + "listen = \"unx\"\nsocket = \"{socket}\"\nargs = [\"{port}\"]\n", `3: service.notes.listen: unknown value "unx"; use "port", "unix" or "fd"`},
		{"long socket", "[settings]\ndata_dir = \"/srv\"\n" + S + "listen = \"unix\"\nsocket = \"{data_dir}/{id}/" + strings.Repeat("s", 95) + "\"\n", "6: service.notes.socket: the path of socket /srv/notes/x/" + strings.Repeat("s", 95) + " has 108 bytes, and 107 is the most; use shorter names, or leave socket out"},

		// Directories
		{"workdir", S + "workdir = \"nowhere\"\n", "3: service.notes.workdir: workdir DIR/nowhere: no such file or directory; create it, or set workdir to another"},
		{"workdir file", S + "workdir = \"run\"\n", "3: service.notes.workdir: workdir DIR/run is not a directory"},
		{"workdir home", S + "workdir = \"~/x\"\n", `3: service.notes.workdir: "~" is for a shell; write out the path of the home directory`},
		{"workdir in data", "[settings]\ndata_dir = \".\"\n[service.notes]\ncommand = \"/bin/sh\"\n", "3: service.notes: workdir DIR lies in settings.data_dir, where an instance sees only its own directory; keep the two apart"},
		{"data_dir", "[settings]\ndata_dir = \"/data/{id}\"\n", "2: settings.data_dir: placeholders are not known here; each instance gets data_dir/SERVICE/ID without them"},
		{"data_dir root", "[settings]\ndata_dir = \"/..\"\n", "2: settings.data_dir: the root directory cannot hold the instances' data; use a directory of its own"},
		{"data_dir file", "[settings]\ndata_dir = \"run\"\n", "2: settings.data_dir: DIR/run is not a directory"},
		{"data_dir empty", "[settings]\ndata_dir = \"\"\n", `2: settings.data_dir: empty; write a directory, or leave it out for "./data"`},
		{"data_dir home", "[settings]\ndata_dir = \"~/data\"\n", `2: settings.data_dir: "~" is for a shell; write out the path of the home directory`},
		{"bind", S + "bind_read_only_paths = [\n\"app\",\n\"gone\",\n\"data/notes\"]\n", `5: service.notes.bind_read_only_paths: DIR/gone: no such file or directory
6: service.notes.bind_read_only_paths: DIR/data/notes would show instances each other's data; keep it out of settings.data_dir`},

		// Keys that go together
		{"bind and process", P + "bind_read_only_paths = [\"app\"]\n", `4: service.notes.bind_read_only_paths: isolation = "process" hides nothing; leave it out, or use isolation = "namespace"`},
		{"user", S + "user = \"www-data\"\n", `3: service.notes.user: isolation = "namespace" gives each instance a user of its own; leave it out, or use isolation = "process"`},
		{"user's name", P + "user = \"www data\"\n", `4: service.notes.user: "www data" is not an account's name`},
		{"no user", P + "user = \"nobody-here\"\n", `4: service.notes.user: there is no user "nobody-here"; create it, or leave user out`},
		{"sandbox and network", B + "network = \"host\"\n", `4: service.notes.network: isolation = "sandbox" has a network of its own, with nothing but a loopback; leave it out, or use isolation = "namespace"`},
		{"sandbox and fd", B + "listen = \"fd\"\n", `4: service.notes.listen: isolation = "sandbox" cannot take a listening socket inside; use listen = "port" or "unix", or isolation = "namespace"`},
		{"sandbox and user", B + "user = \"www-data\"\n", `4: service.notes.user: isolation = "sandbox" gives each instance a user of its own; leave it out, or use isolation = "process"`},
		{"sandbox and data", B + "args = [\"{data_dir}\"]\n", `4: service.notes.args: {data_dir} without /{id} behind it: an instance sees only its own directory there; write {data_dir}/{id}, or use isolation = "process"`},
		{"private network", P + "network = \"private\"\n", `4: service.notes.network: isolation = "process" has no network of its own; leave it out, or use isolation = "namespace"`},
		{"on demand", S + "on_demand = true\n", "3: service.notes.on_demand: anybody could create any number of instances; set max_instances to how many there may be"},
		{"health", S + "health = \"http://localhost/health\"\n", `3: service.notes.health: "http://localhost/health" is not the path of a URL; write a path, such as "/health"`},
		{"health relative", S + "health = \"health\"\n", `3: service.notes.health: "health" is not the path of a URL; write a path, such as "/health"`},
		{"health escape", S + "health = \"/%zz\"\n", `3: service.notes.health: "/%zz" is not the path of a URL; write a path, such as "/health"`},
		{"health space", S + "health = \"/a b\"\n", `3: service.notes.health: "/a b" is not the path of a URL; write a path, such as "/health"`},
		{"schedule", S + "schedule = [\n\"hourly\",\n\"\",\n\"hourly\",\n\" daily\",\n\"dai\\nly\"]\n", `5: service.notes.schedule: empty, or with space around it; write when, as in "hourly" or "Mon..Fri 06:30" (man systemd.time)
6: service.notes.schedule: "hourly" is listed twice
7: service.notes.schedule: empty, or with space around it; write when, as in "hourly" or "Mon..Fri 06:30" (man systemd.time)
8: service.notes.schedule: "dai\nly" has characters that no calendar time has; write when, as in "hourly" or "Mon..Fri 06:30" (man systemd.time)`},
		{"schedule path", S + "schedule = [\"hourly\"]\nschedule_path = \"cron\"\n", `4: service.notes.schedule_path: "cron" is not the path of a URL; write a path, such as "/cron"`},
		{"no schedule", S + "schedule_path = \"/cron\"\n", `3: service.notes.schedule_path: goes with schedule, and there is none; add schedule = ["hourly"], or leave it out`},
		{"health line", S + "health = \"/a\\r\\nX: 1\"\n", `3: service.notes.health: "/a\r\nX: 1" is not the path of a URL; write a path, such as "/health"`},

		// Instances
		{"instances type", S + "[instances]\nnotes = \"alice\"\n", `4: instances.notes: expected an array of strings, found a string; write notes = ["alice", "bob"]`},
		{"instances service", S + "[instances]\nnote = [\"alice\"]\n", `4: instances.note: there is no service "note"; did you mean "notes"?`},
		{"instances of a bad one", "[service.notes]\n[instances]\nnotes = [\"alice\"]\n", `1: service.notes: a service needs a command; add command = "python3 app.py", or what it is`},
		{"instances no service", "[instances]\nnotes = [\"alice\"]\n", `2: instances.notes: there is no service "notes"`},
		{"instances label", S + "[instances]\nnotes = [\n  \"alice\",\n  \"Bob\", # no\n]\n", `6: instances.notes: "Bob" is not a valid instance name; use 1 to 63 lower-case letters, digits and inner hyphens, as in a host name`},
		{"instances twice", S + "[instances]\nnotes = [\"alice\", \"bob\",\n\"alice\"]\n", `5: instances.notes: "alice" is listed twice`},
		{"instances many", S + "max_instances = 1\n[instances]\nnotes = [\"alice\", \"bob\"]\n", "5: instances.notes: 2 instances are listed and service.notes.max_instances is 1; raise max_instances, or list fewer"},

		{"all at once", `# a comment
[settings]
max_restarts = "three"
backof_max_ms = 5

[service.a]
command = "nothere"
isolation = "cage"

[service.b]
command = """
app
  --x
"""
idle_timeout = "soon"

[service.c.env]
A = 1

[instances]
d = ["x"]
`, `3: settings.max_restarts: expected an integer, found a string
4: settings.backof_max_ms: unknown key; did you mean "backoff_max_ms"?
7: service.a.command: command not found: nothere (service a); looked in DIR/bin; install it there, or set PATH in [service.a.env]
8: service.a.isolation: unknown value "cage"; use "process", "namespace" or "sandbox"
11: service.b.command: a line break ends a command, and there can be only one; write "\\" before the line break to go on, put the commands in a script, or use bash -c '...'
15: service.b.idle_timeout: "soon" is not a duration; write seconds, or a string such as "5m", "1h30m" or "250ms"
17: service.c: a service needs a command; add command = "python3 app.py", or what it is
18: service.c.env.A: expected a string, found an integer; write it in quotes
21: instances.d: there is no service "d"; did you mean "a"?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := world(t)
			c, err := parseIn(dir, test.text)
			if err == nil {
				t.Fatalf("got no error and %+v", c)
			}
			if c != nil {
				t.Errorf("got a Config beside the error: %+v", c)
			}
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got a %T, want Faults", err)
			}
			got := strings.ReplaceAll(neutral(err.Error(), dir), "tenement.toml:", "")
			if got != test.want {
				t.Errorf("text:\n%s\ngot:\n%s\nwant:\n%s", test.text, got, test.want)
			}
		})
	}
}

// TestFaultOfDefault: a fault of a key that is not in the file has its table's line,
// or the first.
func TestFaultOfDefault(t *testing.T) {
	dir := world(t)
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"\n":                               "tenement.toml:1: settings.data_dir: DIR/data is not a directory",
		"\n[settings]\nmax_restarts = 1\n": "tenement.toml:2: settings.data_dir: DIR/data is not a directory",
	} {
		_, err := parseIn(dir, text)
		if err == nil || neutral(err.Error(), dir) != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// What env may not set a secret may not either.
func TestOwnVariables(t *testing.T) {
	for name := range reserved {
		if err := tenant.CheckSecret(name, []byte("v"), true); !tenant.IsOwnVariable(name) || tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
		if err := tenant.CheckSecret(name, []byte("v"), false); err != nil {
			t.Errorf("%s in a file: got %v", name, err)
		}
	}
}
