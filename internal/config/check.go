package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"tenement.dev/internal/tenant"
)

// reserved are the variables that are set for an app, and what to do instead of
// setting them.
var reserved = map[string]string{
	"PORT":              `leave it out, or write {port} where the port is needed, with listen = "port"`,
	"SOCKET_PATH":       `leave it out, or write {socket} where the path is needed, with listen = "unix"`,
	"TENEMENT_SERVICE":  "write {name} where the service's name is needed",
	"TENEMENT_INSTANCE": "write {id} where the instance's name is needed",
	"LISTEN_FDS":        `use listen = "fd"`,
	"LISTEN_PID":        `use listen = "fd"`,
	"LISTEN_FDNAMES":    `use listen = "fd"`,
	"NOTIFY_SOCKET":     "leave it out",
}

// account is what a user's name or number looks like (systemd.exec(5), User=).
var account = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}$`)

// checkService finds what is wrong with a service beyond a single value.
func (d *decoder) checkService(s *draft) {
	fault := func(key string, p *problem) { d.fault(child(s.path, key), p) }
	if !s.given["command"] {
		d.fault(s.path, &problem{msg: "a service needs a command", hint: `add command = "python3 app.py", or what it is`})
	}
	d.checkTexts(s)
	d.checkRelease(s)
	d.checkWorkdir(s)
	d.checkProgram(s)
	if s.Health != "" {
		if p := checkPath(s.Health, "/health"); p != nil {
			fault("health", p)
		}
	}
	if s.given["socket"] && s.sound("listen", "socket") {
		if p := d.checkSocket(s); p != nil {
			fault("socket", p)
		}
	}
	if s.sound("idle_timeout", "doze_timeout") && s.IdleTimeout > 0 && s.DozeTimeout >= s.IdleTimeout {
		fault("doze_timeout", &problem{
			msg:  fmt.Sprintf("not shorter than idle_timeout (%v), so an instance would never doze", s.IdleTimeout),
			hint: "make it shorter, or leave it out",
		})
	}
	d.checkSchedule(s)
	d.checkPages(s)
	if s.OnDemand && !s.given["max_instances"] {
		fault("on_demand", &problem{
			msg:  "anybody could create any number of instances",
			hint: "set max_instances to how many there may be",
		})
	}
	d.checkIsolation(s)
}

// checkIsolation finds keys that go with another isolation level only.
func (d *decoder) checkIsolation(s *draft) {
	fault := func(key string, p *problem) { d.fault(child(s.path, key), p) }
	if s.given["user"] && s.sound("user") {
		if p := d.checkUser(s); p != nil {
			fault("user", p)
		}
	}
	for i, path := range s.BindReadOnlyPaths {
		if p := d.checkBind(&path); p != nil {
			p.element = i + 1
			fault("bind_read_only_paths", p)
		}
		s.BindReadOnlyPaths[i] = path
	}
	if !s.sound("isolation") {
		return
	}
	process := s.Isolation == tenant.IsolationProcess
	if s.given["bind_read_only_paths"] && process {
		fault("bind_read_only_paths", &problem{
			msg:  `isolation = "process" hides nothing`,
			hint: `leave it out, or use isolation = "namespace"`,
		})
	}
	if s.Isolation == tenant.IsolationSandbox {
		d.checkSandbox(s)
		return
	}
	if s.Network == tenant.NetworkPrivate && process {
		fault("network", &problem{
			msg:  `isolation = "process" has no network of its own`,
			hint: `leave it out, or use isolation = "namespace"`,
		})
	}
}

// checkUser looks for the account. Whether the daemon may run something as another one is
// for the service's start to tell.
func (d *decoder) checkUser(s *draft) *problem {
	if !account.MatchString(s.User) {
		return &problem{msg: fmt.Sprintf("%q is not an account's name", s.User)}
	}
	if s.sound("isolation") && s.Isolation != tenant.IsolationProcess {
		return &problem{
			msg:  fmt.Sprintf("isolation = %q gives each instance a user of its own", s.Isolation),
			hint: `leave it out, or use isolation = "process"`,
		}
	}
	if d.unseen {
		return nil
	}
	if _, err := tenant.LookupAccount(s.User); err != nil {
		return &problem{msg: fmt.Sprintf("there is no user %q", s.User), hint: "create it, or leave user out"}
	}
	return nil
}

// checkSandbox gives a sandboxed service the network that goes with it, and finds what
// gVisor cannot do.
func (d *decoder) checkSandbox(s *draft) {
	if s.given["network"] && s.sound("network") && s.Network == tenant.NetworkHost {
		d.fault(child(s.path, "network"), &problem{
			msg:  `isolation = "sandbox" has a network of its own, with nothing but a loopback`,
			hint: `leave it out, or use isolation = "namespace"`,
		})
	}
	s.Network = tenant.NetworkPrivate
	if s.sound("listen") && s.Listen == tenant.ListenFD {
		d.fault(child(s.path, "listen"), &problem{
			msg:  `isolation = "sandbox" cannot take a listening socket inside`,
			hint: `use listen = "port" or "unix", or isolation = "namespace"`,
		})
	}
}

// checkTexts checks the placeholders of command, args, workdir and env, and moves
// the latter to its place.
func (d *decoder) checkTexts(s *draft) {
	list := func(key string, texts []string) {
		for i, t := range texts {
			if p := s.checkText(t); p != nil {
				p.element = i + 1
				s.bad[key] = true
				d.fault(child(s.path, key), p)
			}
		}
	}
	list("command", s.Command)
	list("args", s.args)
	if p := s.checkText(s.Workdir); p != nil {
		s.bad["workdir"] = true
		d.fault(child(s.path, "workdir"), p)
	}
	path := child(s.path, "env")
	for _, full := range d.ordered(path, s.env) {
		if s.Env == nil {
			s.Env = make(map[string]string)
		}
		name := last(full)
		value, p := s.checkVariable(name, s.env[name])
		s.Env[name] = value
		if p != nil {
			s.bad["env"] = true
			d.fault(full, p)
		}
	}
}

func (s *draft) checkVariable(name string, v any) (value string, p *problem) {
	if !isName(name) {
		return "", &problem{
			msg:  "not a variable's name",
			hint: "use letters, digits and underscores, and no digit first",
		}
	}
	if hint, ok := reserved[name]; ok {
		return "", &problem{msg: "is set by Tenement", hint: hint}
	}
	if p := text(&value)(v); p != nil {
		switch v.(type) {
		case int64, float64, bool:
			p.hint = "write it in quotes"
		}
		return "", p
	}
	return value, s.checkText(value)
}

// checkText checks the placeholders of one string.
func (s *draft) checkText(text string) *problem {
	t, p := parseTemplate(text)
	if p != nil {
		return p
	}
	if s.sound("listen") {
		for _, need := range []struct {
			name   string
			listen tenant.Listen
		}{{"port", tenant.ListenPort}, {"socket", tenant.ListenUnix}} {
			if t.has(need.name) && s.Listen != need.listen {
				return &problem{msg: fmt.Sprintf("{%s} is known with listen = %q only, and listen is %q", need.name, need.listen, s.Listen)}
			}
		}
	}
	if s.sound("isolation") && s.Isolation != tenant.IsolationProcess && !t.staysInside() {
		return &problem{
			msg:  "{data_dir} without /{id} behind it: an instance sees only its own directory there",
			hint: `write {data_dir}/{id}, or use isolation = "process"`,
		}
	}
	return nil
}

// checkSocket checks what can be known of a socket before there is an instance.
func (d *decoder) checkSocket(s *draft) *problem {
	if s.Listen != tenant.ListenUnix {
		return &problem{msg: fmt.Sprintf("goes with listen = \"unix\", and listen is %q", s.Listen), hint: `add listen = "unix", or leave socket out`}
	}
	t, p := parseTemplate(s.Socket)
	if p != nil {
		return p
	}
	if t.has("socket") || t.has("port") || t.has("release") {
		return &problem{msg: "{socket}, {port} and {release} are not known here", hint: "use {name}, {id} or {data_dir}"}
	}
	id := tenant.ID{Service: s.Name, Name: "x"}
	socket := t.fill(d.config.values(id, Placement{}))
	// Any directory will do for one that is relative to a directory not known yet.
	_, p = socketPath(socket, "/x", d.config.DataDir(id))
	return p
}

// checkPath checks the path of a request to an app.
func checkPath(path, example string) *problem {
	p := &problem{msg: fmt.Sprintf("%q is not the path of a URL", path), hint: fmt.Sprintf("write a path, such as %q", example)}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "# ") {
		return p
	}
	if _, err := url.ParseRequestURI(path); err != nil {
		return p
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
