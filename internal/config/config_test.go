package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// quickStart is the README's, word for word.
const quickStart = `# tenement.toml
[service.notes]
command = "python3 app.py"
health = "/health"
idle_timeout = 300
isolation = "process"
[service.notes.env]
DATA_DIR = "{data_dir}/{id}"
`

func TestQuickStart(t *testing.T) {
	dir := world(t)
	c := must(t, dir, quickStart)
	want := &Config{
		Path: filepath.Join(dir, "tenement.toml"),
		Dir:  dir,
		Settings: Settings{
			DataDir:             filepath.Join(dir, "data"),
			Armed:               ByMemory,
			Doorbells:           64,
			HealthCheckInterval: 10 * time.Second,
			MaxRestarts:         3,
			RestartWindow:       300 * time.Second,
			BackoffBase:         time.Second,
			BackoffMax:          time.Minute,
			PortMin:             30000,
			PortMax:             32767,
			MaxWaiting:          5000,
			MetricsPerInstance:  true,
			Dashboard:           true,
			FastPath:            true,
			MetricsMaxInstances: 1000,
		},
		Services: map[string]*Service{"notes": {
			Name:           "notes",
			Command:        []string{"python3", "app.py"},
			Env:            map[string]string{"DATA_DIR": "{data_dir}/{id}"},
			Health:         "/health",
			Restart:        RestartOnFailure,
			Isolation:      tenant.IsolationProcess,
			Network:        tenant.NetworkHost,
			Listen:         tenant.ListenPort,
			IdleTimeout:    300 * time.Second,
			KeepAwakeMax:   time.Hour,
			BusyMax:        10 * time.Minute,
			StartupTimeout: 10 * time.Second,
			RequestTimeout: 30 * time.Second,
			WaitingPage:    1500 * time.Millisecond,
			StopGrace:      10 * time.Second,
			MaxInFlight:    2000,
			KeepAlive:      true,
			ServiceHost:    true,
			StoragePersist: true,
		}},
		searchPath: filepath.Join(dir, "bin"),
	}
	c.Sum = "" // TestSum
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v\ngot service  %+v\nwant service %+v",
			c, want, c.Services["notes"], want.Services["notes"])
	}
}

func TestEveryKey(t *testing.T) {
	dir := world(t)
	c := must(t, dir, `
[settings]
data_dir = "/srv/x/../tenement"
domain = ["Example.com.", "two.example"]
armed = 7
doorbells = 0
health_check_interval = "1m"
max_restarts = 0
restart_window = "1h30m"
backoff_base_ms = 250
backoff_max_ms = 500
port_range = "4000-4001"
api_listen = "[::1]:9090"
api_domain = true
dashboard = false
fast_path = false
verify_domains = true
dns_resolver = "192.0.2.53:53"
metrics_listen = "[::1]:9464"
metrics_per_instance = false
metrics_max_instances = 7
trusted_proxies = ["192.0.2.7", "10.1.2.3/8", "::ffff:127.0.0.1", "fd00::/8"]
public = "https:8443"
wake_concurrency = 3
max_waiting = 100

[service.web]
command = ["app", "a b", "$X", '{"a":{"b":1}}']
args = ["--port={port}", ""]
workdir = "app"
health = "/ready?deep=1"
restart = "always"
network = "private"
bind_read_only_paths = ["app", "/usr"]
idle_timeout = 0.5
doze_timeout = "250ms"
keep_awake_max = "20m"
busy_max = 0
schedule = ["hourly",
  "Mon..Fri 06:30"]
schedule_path = "/cron?a=b"
startup_timeout = "2m"
request_timeout = 0
stop_grace = 1.5
memory_limit_mb = 256
cpu_shares = 10_000
tasks_max = 16
cpu_quota = "150%"
io_weight = 20
nofile = 4096
storage_quota_mb = 1024
max_instances = 3
max_in_flight = 5
no_wake = ["head", "crawler"]
on_demand = true
service_host = false
keepalive = false
storage_persist = false
env = { A = "1", PATH = "/usr/bin:bin:../bin" }

[instances]
web = ["z", "a"]
api = []
worker = ["one"]

[service.api]
command = "./run"
isolation = "process"
user = "www-data"
listen = "fd"

[service.worker]
command = "bin/app 'x  y' \"\" a\\ b"
listen = "unix"
socket = "{data_dir}/{id}/w.sock"
env.S = "{socket}"
`)
	wantSettings := Settings{
		DataDir: "/srv/tenement", Domains: []string{"example.com", "two.example"},
		Armed:               7,
		HealthCheckInterval: time.Minute,
		RestartWindow:       90 * time.Minute,
		BackoffBase:         250 * time.Millisecond,
		Public:              Public{"https", 8443},
		BackoffMax:          500 * time.Millisecond,
		PortMin:             4000,
		PortMax:             4001,
		TrustedProxies: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("10.0.0.0/8"),
			netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("fd00::/8"),
		},
		WakeConcurrency: 3,
		MaxWaiting:      100,
		APIListen:       "[::1]:9090",
		APIDomain:       true,
		VerifyDomains:   true,
		DNSResolver:     "192.0.2.53:53",

		MetricsListen:       "[::1]:9464",
		MetricsMaxInstances: 7,
	}
	if !reflect.DeepEqual(c.Settings, wantSettings) {
		t.Errorf("got  %+v\nwant %+v", c.Settings, wantSettings)
	}
	want := map[string]*Service{
		"web": {
			Name:              "web",
			Command:           []string{"app", "a b", "$X", `{"a":{"b":1}}`, "--port={port}", ""},
			Env:               map[string]string{"A": "1", "PATH": "/usr/bin:bin:../bin"},
			Workdir:           "app",
			Health:            "/ready?deep=1",
			Restart:           RestartAlways,
			Isolation:         tenant.IsolationNamespace,
			Network:           tenant.NetworkPrivate,
			Listen:            tenant.ListenPort,
			BindReadOnlyPaths: []string{filepath.Join(dir, "app"), "/usr"},
			IdleTimeout:       500 * time.Millisecond,
			DozeTimeout:       250 * time.Millisecond,
			KeepAwakeMax:      20 * time.Minute,
			Schedule:          []string{"hourly", "Mon..Fri 06:30"},
			SchedulePath:      "/cron?a=b",
			StartupTimeout:    2 * time.Minute,
			WaitingPage:       1500 * time.Millisecond,
			StopGrace:         1500 * time.Millisecond,
			Limits: tenant.Limits{
				tenant.LimitMemory: 256 << 20, tenant.LimitCPUShares: 10000, tenant.LimitTasks: 16,
				tenant.LimitCPUQuota: 150, tenant.LimitIOWeight: 20, tenant.LimitNoFile: 4096, tenant.LimitStorage: 1 << 30,
			},
			MaxInstances: 3,
			MaxInFlight:  5,
			NoWake:       tenant.KindHead | tenant.KindCrawler,
			OnDemand:     true,
		},
		"api": {
			Name:           "api",
			Command:        []string{"./run"},
			Restart:        RestartOnFailure,
			Isolation:      tenant.IsolationProcess,
			Network:        tenant.NetworkHost,
			Listen:         tenant.ListenFD,
			User:           "www-data",
			KeepAwakeMax:   time.Hour,
			BusyMax:        10 * time.Minute,
			StartupTimeout: 10 * time.Second,
			RequestTimeout: 30 * time.Second,
			WaitingPage:    1500 * time.Millisecond,
			StopGrace:      10 * time.Second,
			MaxInFlight:    2000,
			KeepAlive:      true,
			ServiceHost:    true,
			StoragePersist: true,
		},
		"worker": {
			Name:           "worker",
			Command:        []string{"bin/app", "x  y", "", "a b"},
			Env:            map[string]string{"S": "{socket}"},
			Restart:        RestartOnFailure,
			Isolation:      tenant.IsolationNamespace,
			Network:        tenant.NetworkHost,
			Listen:         tenant.ListenUnix,
			Socket:         "{data_dir}/{id}/w.sock",
			KeepAwakeMax:   time.Hour,
			BusyMax:        10 * time.Minute,
			StartupTimeout: 10 * time.Second,
			RequestTimeout: 30 * time.Second,
			WaitingPage:    1500 * time.Millisecond,
			StopGrace:      10 * time.Second,
			MaxInFlight:    2000,
			KeepAlive:      true,
			ServiceHost:    true,
			StoragePersist: true,
		},
	}
	for name, w := range want {
		if got := c.Services[name]; !reflect.DeepEqual(got, w) {
			t.Errorf("service %s:\ngot  %+v\nwant %+v", name, got, w)
		}
	}
	if len(c.Services) != len(want) {
		t.Errorf("got %d services, want %d", len(c.Services), len(want))
	}
	wantInstances := []tenant.ID{{Service: "web", Name: "z"}, {Service: "web", Name: "a"}, {Service: "worker", Name: "one"}}
	if !reflect.DeepEqual(c.Instances, wantInstances) {
		t.Errorf("got instances %v, want %v", c.Instances, wantInstances)
	}
}

// TestOneMeaning writes the same service in the ways that TOML has for it.
func TestOneMeaning(t *testing.T) {
	dir := world(t)
	want := must(t, dir, "[service.notes]\ncommand = \"app\"\n[service.notes.env]\nA = \"1\"\n")
	for _, text := range []string{
		"service.notes.command = \"app\"\nservice.notes.env.A = \"1\"\n",
		"[service]\nnotes = { command = 'app', env = { A = '1' } }\n",
		"[\"service\".'notes']\n\"comm\\u0061nd\" = \"\"\"\napp\"\"\"\nenv.\"A\" = \"1\"\n",
		"[service.notes.env]\nA = \"1\"\n[service.notes]\ncommand = [\"app\"]\nargs = []\n",
		"\ufeff[service.notes]\r\ncommand = \"app\"\r\nenv.A = \"1\"\r\n",
	} {
		got := must(t, dir, text)
		if got.Sum == want.Sum {
			t.Errorf("two texts have the sum %s", got.Sum)
		}
		if got.Sum = want.Sum; !reflect.DeepEqual(got, want) {
			t.Errorf("%q\ngot  %+v\nwant %+v", text, got.Services["notes"], want.Services["notes"])
		}
	}
}

func TestInstancesOnOneLine(t *testing.T) {
	c := must(t, world(t), "instances = { b = ['x'], a = ['y'] }\nservice.a.command = 'app'\nservice.b.command = 'app'\n")
	if want := []tenant.ID{{Service: "b", Name: "x"}, {Service: "a", Name: "y"}}; !reflect.DeepEqual(c.Instances, want) {
		t.Errorf("got %v, want %v", c.Instances, want)
	}
}

func TestNoService(t *testing.T) {
	c := must(t, world(t), "")
	if len(c.Services) != 0 || c.Settings.MaxRestarts != 3 {
		t.Errorf("got %+v, want the defaults and no service", c)
	}
}

func TestLoad(t *testing.T) {
	dir := world(t)
	t.Chdir(dir)
	if err := os.WriteFile("tenement.toml", []byte("[service.notes]\ncommand = \"/bin/sh -c 'sleep 1'\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load("tenement.toml")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "tenement.toml"); c.Path != want || c.Dir != dir {
		t.Errorf("got path %s in %s, want %s", c.Path, c.Dir, want)
	}
	if c.searchPath != standardPath {
		t.Errorf("got search path %s, want %s", c.searchPath, standardPath)
	}

	if err := os.WriteFile("bad.toml", []byte("\n[service.notes]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load("../" + filepath.Base(dir) + "/bad.toml")
	if want := "/bad.toml:2: service.notes: a service needs a command"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadNothing(t *testing.T) {
	dir := world(t)
	t.Chdir(dir)
	for _, test := range []struct {
		path      string
		code      tenant.Code
		msg, hint string
	}{
		{"tenement.toml", tenant.CodeNotFound, "there is no tenement.toml in DIR", "[service.notes]"},
		{"none/t.toml", tenant.CodeNotFound, "there is no t.toml in DIR/none", "[service.notes]"},
		{"app", tenant.CodeInvalid, "app is a directory", "name the file in it: app/tenement.toml"},
		{"run/tenement.toml", tenant.CodeInvalid, "run/tenement.toml cannot be read: not a directory", "let the user that runs ten serve read it"},
	} {
		_, err := Load(test.path)
		var e *tenant.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want a *tenant.Error", test.path, err)
			continue
		}
		if e.Code != test.code || neutral(e.Msg, dir) != test.msg || !strings.Contains(e.Hint, test.hint) {
			t.Errorf("%s: got %s %q %q, want %s %q %q", test.path, e.Code, e.Msg, e.Hint, test.code, test.msg, test.hint)
		}
	}
}

// FuzzParse checks that any text gives either a Config or faults that have a line in
// the text and a message, and that the Config gives specs.
func FuzzParse(f *testing.F) {
	f.Add(quickStart)
	f.Add("[service.a]\ncommand='/bin/sh -c \"x {port}\"'\nenv={A='{data_dir}/{id}'}\n[instances]\na=['b']\n")
	f.Add("settings.tls.x=1\n[[service]]\nx=[1,[2,{a=\"\"\"\n\"\"\"}]]\n")
	f.Add("[service.a]\nlisten='unix'\nsocket='{data_dir}/{id}/x'\ncommand=['{data_dir}/{name}/{id}/run']")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("t.toml", []byte(text), dir)
		if err == nil {
			for name := range c.Services {
				_, err := c.Spec(tenant.ID{Service: name, Name: "x"}, Placement{Port: 30000, SocketDir: "/run/x"})
				var e *tenant.Error
				if err != nil && !errors.As(err, &e) {
					t.Errorf("spec: got %v, want a *tenant.Error", err)
				}
			}
			return
		}
		var faults Faults
		if !errors.As(err, &faults) || len(faults) == 0 || c != nil {
			t.Fatalf("got %+v and %v, want Faults", c, err)
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Line > 1+strings.Count(text, "\n") || fault.Msg == "" {
				t.Errorf("got %+v", fault)
			}
		}
	})
}

// The sum is that of the text alone, and what sha256sum(1) says.
func TestSum(t *testing.T) {
	c, err := Parse("x.toml", []byte("# nothing\n"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if want := "5e49ea838dc30f3eeacf6ca7815f6e3adcf77f467a970d978676790fd90377e1"; c.Sum != want {
		t.Errorf("got %s, want %s", c.Sum, want)
	}
}

// ParseUnseen says what is wrong with the text, and goes by nothing that is outside of it.
func TestParseUnseen(t *testing.T) {
	text := "[service.app]\ncommand = \"/nowhere/app\"\nworkdir = \"/nowhere\"\nbind_read_only_paths = [\"/nowhere/too\"]\nerror_pages = \"pages\"\n"
	if _, err := Parse("x.toml", []byte(text), t.TempDir()); err == nil {
		t.Fatal("Parse has found nothing missing")
	}
	c, err := ParseUnseen("x.toml", []byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Services["app"].Command; len(got) != 1 || got[0] != "/nowhere/app" {
		t.Errorf("got command %q", got)
	}
	if _, err := ParseUnseen("x.toml", []byte(text+"idel_timeout = 3\n"), t.TempDir()); err == nil {
		t.Error("an unknown key was taken")
	}
}
