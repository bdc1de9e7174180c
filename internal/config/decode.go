package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"tenement.dev/internal/tenant"
)

// decoder turns one text into one Config.
type decoder struct {
	file   string
	at     *positions
	config *Config
	faults Faults
	// calendar looks at a calendar time; nil where nobody does.
	calendar func(entry string) error
	// unseen: what the file names on this machine is not looked at.
	unseen bool
}

// draft is a service in the making.
type draft struct {
	*Service
	args []string
	env  map[string]any
	path toml.Key
	// given are the keys that the file has, bad those of them that were refused; the
	// fields of the latter hold the default.
	given, bad map[string]bool
}

// sound reports whether none of the keys was refused, so that they may be compared.
func (d *draft) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return d.bad[k] })
}

func parse(name string, text []byte, dir, searchPath string, calendar func(entry string) error) (*Config, error) {
	return (&decoder{calendar: calendar}).parse(name, text, dir, searchPath)
}

// parse makes a Config of text. Of the decoder only the ways to look at things are set.
func (d *decoder) parse(name string, text []byte, dir, searchPath string) (*Config, error) {
	var document map[string]any
	if _, err := toml.Decode(string(text), &document); err != nil {
		return nil, Faults{syntaxFault(name, string(text), err)}
	}
	sum := sha256.Sum256(text)
	d.file, d.at = name, scan(string(text))
	d.config = &Config{
		Path:       filepath.Join(dir, filepath.Base(name)),
		Dir:        dir,
		Sum:        hex.EncodeToString(sum[:]),
		Services:   make(map[string]*Service),
		searchPath: searchPath,
	}
	d.document(document)
	if len(d.faults) > 0 {
		return nil, d.faults.sorted()
	}
	return d.config, nil
}

// syntaxFault is what the toml package says, in our form.
func syntaxFault(file, text string, err error) Fault {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return Fault{File: file, Line: 1, Msg: err.Error()}
	}
	msg := strings.TrimSuffix(parse.Message, ".")
	if strings.HasPrefix(msg, "Key ") || strings.HasPrefix(msg, "Invalid ") {
		msg = strings.ToLower(msg[:1]) + msg[1:]
	}
	line := max(1, parse.Position.Line)
	// Where a line ends too early, the package sometimes says the next one.
	text = withoutMark(text)
	if at := parse.Position.Start; at >= 0 && at < len(text) && text[at] == '\n' {
		line = 1 + strings.Count(text[:at], "\n")
	}
	return Fault{File: file, Line: line, Msg: msg}
}

// fault records that something is wrong with key.
func (d *decoder) fault(key toml.Key, p *problem) {
	line := d.at.elementLine(key, p.element-1)
	for up := key; line == 0 && len(up) > 1; { // what is not written has its table's
		up = up[:len(up)-1]
		line = d.at.line(up)
	}
	line = max(1, line)
	d.faults = append(d.faults, Fault{File: d.file, Line: line, Key: key.String(), Msg: p.msg, Hint: p.hint})
}

// ordered lists the keys of table, which is at path, in the order of the file.
func (d *decoder) ordered(path toml.Key, table map[string]any) []toml.Key {
	var keys []toml.Key
	for name := range table {
		keys = append(keys, child(path, name))
	}
	slices.SortFunc(keys, d.at.compare)
	return keys
}

func child(path toml.Key, name string) toml.Key { return append(slices.Clip(path), name) }

func last(path toml.Key) string { return path[len(path)-1] }

// document reads the whole file. Instances come last since they refer to services.
func (d *decoder) document(document map[string]any) {
	for _, path := range d.ordered(nil, document) {
		if name := last(path); !slices.Contains(tables, name) {
			d.fault(path, unknown(name, document[name], "", tables))
		}
	}
	d.settings(d.table(toml.Key{"settings"}, document))
	services := d.table(toml.Key{"service"}, document)
	for _, path := range d.ordered(toml.Key{"service"}, services) {
		d.service(path, services)
	}
	instances := d.table(toml.Key{"instances"}, document)
	for _, path := range d.ordered(toml.Key{"instances"}, instances) {
		d.instances(path, instances[last(path)], services)
	}
}

// table gives the table at path, whose parent is within; empty if there is none.
func (d *decoder) table(path toml.Key, within map[string]any) map[string]any {
	v, ok := within[last(path)]
	if !ok {
		return nil
	}
	t, ok := v.(map[string]any)
	if !ok {
		p := mismatch("a table", v)
		if _, ok := v.([]map[string]any); ok {
			p.hint = fmt.Sprintf("write [%s], with single brackets", path)
		} else if path[0] == "service" && slices.Contains(names(serviceKeys), last(path)) {
			p = &problem{msg: "expected the name of a service", hint: "write [service.NAME] above it"}
		}
		d.fault(path, p)
	}
	return t
}

// fill reads the table at path into a T: first the defaults, then what is given. It
// returns what keys are given and which of these are bad.
func fill[T any](d *decoder, into *T, path toml.Key, table map[string]any, keys []key[T]) (given, bad map[string]bool) {
	for _, k := range keys {
		if k.standard == nil {
			continue
		}
		if p := k.reader(into)(k.standard); p != nil {
			panic(fmt.Sprintf("config: default of %s: %s", k.name, p.msg))
		}
	}
	given, bad = make(map[string]bool), make(map[string]bool)
	for _, full := range d.ordered(path, table) {
		name := last(full)
		i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == name })
		var p *problem
		if i < 0 {
			p = unknown(name, table[name], path[0], names(keys))
		} else {
			p = keys[i].reader(into)(table[name])
		}
		given[name] = true
		if p != nil {
			bad[name] = true
			d.fault(full, p)
		}
	}
	return given, bad
}

// unknown is the problem of a key that the table within ("" for the top) does not
// have.
func unknown(name string, v any, within string, known []string) *problem {
	what := "key"
	if _, ok := v.(map[string]any); ok {
		what = "table"
	}
	p := &problem{msg: "unknown " + what, hint: suggest(name, known)}
	switch {
	case within != "settings" && slices.Contains(names(settingsKeys), name):
		p.hint = "it belongs in [settings]"
	case within != "service" && slices.Contains(names(serviceKeys), name):
		p.hint = "it belongs in [service.NAME]"
	case within == "" && what == "table" && nearest(name, known) == "" && tenant.IsLabel(name):
		p.hint = fmt.Sprintf("write [service.%s] for a service", name)
	}
	return p
}

func (d *decoder) settings(table map[string]any) {
	path := toml.Key{"settings"}
	s := &d.config.Settings
	s.Armed = ByMemory
	_, bad := fill(d, s, path, table, settingsKeys)
	if !bad["backoff_base_ms"] && !bad["backoff_max_ms"] && s.BackoffBase > s.BackoffMax {
		key := "backoff_max_ms"
		if _, ok := table[key]; !ok {
			key = "backoff_base_ms"
		}
		d.fault(child(path, key), &problem{msg: "backoff_base_ms is more than backoff_max_ms"})
	}
	if p := checkDataDir(d.config.Dir, s.DataDir); p != nil {
		d.fault(child(path, "data_dir"), p)
	}
	s.DataDir = absolute(d.config.Dir, s.DataDir)
	if s.ProxyProtocol && len(s.TrustedProxies) == 0 && !bad["trusted_proxies"] {
		d.fault(child(path, "proxy_protocol"), &problem{
			msg:  "nobody may use it",
			hint: "name the proxies in front: trusted_proxies = [\"10.0.0.1\"]",
		})
	}
	d.tls(child(path, "tls"))
}

func (d *decoder) service(path toml.Key, services map[string]any) {
	name := last(path)
	if err := tenant.CheckLabel("service", name); err != nil {
		d.fault(path, labelProblem(err))
	}
	table := d.table(path, services)
	if table == nil {
		return
	}
	s := &draft{Service: &Service{Name: name}, path: path}
	s.given, s.bad = fill(d, s, path, table, serviceKeys)
	d.checkService(s)
	s.Command = append(s.Command, s.args...)
	d.config.Services[name] = s.Service
}

// instances reads one line of [instances]. It asks services, and not the Config, for
// the names, since one that is wrong in itself has a fault already.
func (d *decoder) instances(path toml.Key, v any, services map[string]any) {
	service := last(path)
	var list []string
	if p := texts(&list)(v); p != nil {
		if p.hint == "" {
			p.hint = fmt.Sprintf(`write %s = ["alice", "bob"]`, path[1:])
		}
		d.fault(path, p)
	}
	if _, ok := services[service]; !ok {
		d.fault(path, &problem{
			msg:  fmt.Sprintf("there is no service %q", service),
			hint: suggest(service, sortedKeys(services)),
		})
		return
	}
	for i, name := range list {
		if err := tenant.CheckLabel("instance", name); err != nil {
			p := labelProblem(err)
			p.element = i + 1
			d.fault(path, p)
			continue
		}
		if slices.Contains(list[:i], name) {
			d.fault(path, &problem{msg: fmt.Sprintf("%q is listed twice", name), element: i + 1})
			continue
		}
		d.config.Instances = append(d.config.Instances, tenant.ID{Service: service, Name: name})
	}
	if s := d.config.Services[service]; s != nil && s.MaxInstances > 0 && len(list) > s.MaxInstances {
		d.fault(path, &problem{
			msg:  fmt.Sprintf("%s listed and service.%s.max_instances is %d", tenant.Count(len(list), "instance is", "instances are"), service, s.MaxInstances),
			hint: "raise max_instances, or list fewer",
		})
	}
}

// labelProblem takes over what tenant.CheckLabel says.
func labelProblem(err error) *problem {
	var e *tenant.Error
	if !errors.As(err, &e) {
		return &problem{msg: err.Error()}
	}
	return &problem{msg: e.Msg, hint: e.Hint}
}
