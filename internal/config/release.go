package config

import (
	"fmt"
	"os"

	"tenement.dev/internal/tenant"
)

// checkRelease finds a release that nothing uses, and uses of one that is not there.
func (d *decoder) checkRelease(s *draft) {
	if s.given["release"] && s.sound("release") {
		if err := tenant.CheckRelease(s.Release); err != nil {
			s.bad["release"] = true
			d.fault(child(s.path, "release"), labelProblem(err))
		}
	}
	used := false
	missing := &problem{
		msg:  "{release} is used, and there is no release to begin with",
		hint: `add release = "v1", or what it is called; ` + "`ten rollout` changes it",
	}
	look := func(key, text string) {
		if t, p := parseTemplate(text); p != nil || !t.has("release") {
			return
		}
		if !used && !s.given["release"] {
			s.bad[key] = true
			d.fault(child(s.path, key), missing)
		}
		used = true
	}
	for _, word := range s.Command {
		look("command", word)
	}
	for _, word := range s.args {
		look("args", word)
	}
	look("workdir", s.Workdir)
	for _, name := range sortedKeys(s.Env) {
		look("env", s.Env[name])
	}
	if !used && s.given["release"] && s.sound("release", "command", "args", "workdir", "env") {
		d.fault(child(s.path, "release"), &problem{
			msg:  "nothing uses it",
			hint: `write {release} in command, args, workdir or env, such as workdir = "/srv/notes/{release}"`,
		})
	}
}

// CheckRelease looks whether the instance id could be run with its placement's release:
// its program and its directory are there. The error is a *tenant.Error.
func (c *Config) CheckRelease(id tenant.ID, p Placement) error {
	s, err := c.Service("roll out", id)
	if err != nil {
		return err
	}
	if s.Release == "" {
		return &tenant.Error{
			Code: tenant.CodeInvalid, Op: "roll out",
			Msg:  fmt.Sprintf("service %s has no releases", id.Service),
			Hint: fmt.Sprintf(`give [service.%s] release = "v1" and write {release} in its command, workdir or env`, id.Service),
		}
	}
	spec, err := c.Spec(id, p)
	if err != nil {
		return err
	}
	if info, err := os.Stat(spec.WorkDir); err != nil && !notOurs(err) || err == nil && !info.IsDir() {
		return &tenant.Error{
			Code: tenant.CodeInvalid, Op: "roll out", Err: err,
			Msg:  fmt.Sprintf("release %s has no directory %s", p.Release, spec.WorkDir),
			Hint: "put it there first",
		}
	}
	return nil
}
