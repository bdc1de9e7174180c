package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tenement.dev/internal/tenant"
)

// Placement is what the daemon decides about an instance and the file does not say.
type Placement struct {
	// Port is the TCP port, needed with ListenPort.
	Port int
	// SocketDir is the absolute path of the instance's own directory for sockets,
	// needed with ListenUnix and ListenFD.
	SocketDir string
	// Release is the instance's, needed where its service has one.
	Release string
	// Limits are the instance's own, which come before those of its service.
	Limits tenant.Limits
	// Secrets are the instance's own and its service's.
	Secrets []tenant.SecretRef
}

// maxSocketPath is the longest path of a Unix socket in bytes: sun_path less its NUL
// (unix(7)).
const maxSocketPath = 107

// Spec gives all that is needed to run the instance id. The error is a *tenant.Error:
// CodeNotFound for an unknown service, CodeInvalid where the names make something
// impossible, such as a socket's path that is too long, CodeStartFailed where the
// command is not there.
func (c *Config) Spec(id tenant.ID, p Placement) (tenant.Spec, error) {
	s, err := c.Service("configure", id)
	if err == nil {
		err = tenant.CheckLabel("instance", id.Name) // before it gets anywhere
	}
	if err != nil {
		return tenant.Spec{}, err
	}
	spec := tenant.Spec{
		ID:                id,
		Release:           p.Release,
		DataDir:           c.DataDir(id),
		DataRoot:          c.Settings.DataDir,
		Isolation:         s.Isolation,
		Network:           s.Network,
		Listen:            s.Listen,
		User:              s.User,
		BindReadOnlyPaths: slices.Clone(s.BindReadOnlyPaths),
		Limits:            p.Limits.Or(s.Limits),
		Secrets:           p.Secrets,
		StartupTimeout:    s.StartupTimeout,
		StopGrace:         s.StopGrace,
	}
	fail := func(code tenant.Code, p *problem) (tenant.Spec, error) {
		return tenant.Spec{}, &tenant.Error{Code: code, Op: "configure", ID: id, Msg: p.msg, Hint: p.hint}
	}

	if s.Release != "" {
		if err := tenant.CheckRelease(p.Release); err != nil { // before it gets anywhere
			return tenant.Spec{}, err
		}
	}
	values := c.values(id, p)
	// The templates were parsed when the file was.
	fill := func(text string) string { t, _ := parseTemplate(text); return t.fill(values) }
	switch s.Listen {
	case tenant.ListenPort:
		if p.Port < 1 || p.Port > 65535 {
			return fail(tenant.CodeInternal, &problem{msg: fmt.Sprintf("%d is not a port", p.Port)})
		}
		spec.Port = p.Port
	case tenant.ListenUnix, tenant.ListenFD:
		if !filepath.IsAbs(p.SocketDir) {
			return fail(tenant.CodeInternal, &problem{msg: fmt.Sprintf("socket directory %q is not absolute", p.SocketDir)})
		}
		socket, problem := socketPath(fill(s.Socket), p.SocketDir, spec.DataDir)
		if problem != nil {
			return fail(tenant.CodeInvalid, problem)
		}
		spec.SocketPath = socket
		values["socket"] = socket
	}
	spec.WorkDir = absolute(c.Dir, fill(s.Workdir))
	for _, word := range s.Command {
		spec.Argv = append(spec.Argv, fill(word))
	}
	program, problem := findProgram(s.Name, spec.Argv[0], spec.WorkDir, fill(c.searchPathOf(s)))
	if problem != nil {
		return fail(tenant.CodeStartFailed, problem)
	}
	spec.Argv[0] = program
	spec.Env = c.environ(s, spec, fill)
	return spec, nil
}

// Service gives the configuration of id's service. Where there is none the error is a
// *tenant.Error with CodeNotFound that says which there are; op is what was attempted.
func (c *Config) Service(op string, id tenant.ID) (*Service, error) {
	if s, ok := c.Services[id.Service]; ok {
		return s, nil
	}
	known := sortedKeys(c.Services)
	hint := fmt.Sprintf("%s has: %s", filepath.Base(c.Path), strings.Join(known, ", "))
	if best := nearest(id.Service, known); best != "" {
		hint = fmt.Sprintf("did you mean %q? %s", best, hint)
	}
	if len(c.Services) == 0 {
		hint = fmt.Sprintf("add [service.%s] to %s", id.Service, c.Path)
	}
	return nil, &tenant.Error{
		Code: tenant.CodeNotFound, Op: op, ID: id,
		Msg:  fmt.Sprintf("there is no service %q", id.Service),
		Hint: hint,
	}
}

// values are the placeholders' values, that of {socket} excepted.
func (c *Config) values(id tenant.ID, p Placement) map[string]string {
	return map[string]string{
		"name":     id.Service,
		"id":       id.Name,
		"data_dir": filepath.Join(c.Settings.DataDir, id.Service),
		"port":     strconv.Itoa(p.Port),
		"release":  p.Release,
	}
}

// environ is the app's whole environment, sorted.
func (c *Config) environ(s *Service, spec tenant.Spec, fill func(string) string) []string {
	env := map[string]string{
		"PATH":              c.searchPath,
		"HOME":              spec.DataDir,
		"DATA_DIR":          spec.DataDir,
		"LANG":              "C.UTF-8",
		"TENEMENT_SERVICE":  spec.ID.Service,
		"TENEMENT_INSTANCE": spec.ID.Name,
	}
	switch s.Listen {
	case tenant.ListenPort:
		env["PORT"] = strconv.Itoa(spec.Port)
	case tenant.ListenUnix:
		env["SOCKET_PATH"] = spec.SocketPath
	}
	for name, value := range s.Env {
		env[name] = fill(value)
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// searchPathOf gives the PATH of s, which may have placeholders.
func (c *Config) searchPathOf(s *Service) string {
	if path, ok := s.Env["PATH"]; ok {
		return path
	}
	return c.searchPath
}

// socketPath gives the absolute path of an instance's socket, given as the service
// has it with placeholders filled in.
func socketPath(socket, socketDir, dataDir string) (string, *problem) {
	if socket == "" {
		socket = "app.sock"
	}
	path := absolute(socketDir, socket)
	if !inside(path, socketDir) && !inside(path, dataDir) {
		return "", &problem{
			msg:  fmt.Sprintf("socket %s is not in the instance's own directory", socket),
			hint: `write "{data_dir}/{id}/app.sock", or only "app.sock" for one in its socket directory`,
		}
	}
	if len(path) > maxSocketPath {
		return "", &problem{
			msg:  fmt.Sprintf("the path of socket %s has %d bytes, and %d is the most", path, len(path), maxSocketPath),
			hint: "use shorter names, or leave socket out",
		}
	}
	return path, nil
}
