package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/config"
	"tenement.dev/internal/install"
	"tenement.dev/internal/tenant"
	"tenement.dev/packaging"
	"tenement.dev/proxy"
	"tenement.dev/templates"
)

// scriptTimeout bounds what a package's script does: it starts and stops daemons.
const scriptTimeout = 3 * time.Minute

// installOptions are the flags of `ten install`.
type installOptions struct {
	root, programs string
	domain         string
	caddy          bool
	provider       string
	dryRun, asJSON bool
}

func newInstallCommand(p *program) *cobra.Command {
	var o installOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install ten on this machine, as a package does",
		Long: `Install ten on this machine: the programs, units, user, directories and the default
/etc/tenement/tenement.toml that the packages have, and start it. For machines without a
package manager that takes those; "ten uninstall" takes it away again.

It can be run again, by a newer ten too: that is an upgrade, which no request notices.
Files that it did not write are never overwritten. The services of a tenement.toml in this
directory come along, unless the installed one has services already. With --caddy it listens on
127.0.0.1:8080, and writes /etc/caddy/Caddyfile for the services of tenement.toml: run it
again when there are others.`,
		Example: "  ten install --dry-run\n  ten install --domain app.example.com\n  ten install --domain app.example.com --caddy --dns-provider cloudflare",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			if o.domain != "" {
				host, err := tenant.ParseHost(o.domain)
				if err != nil {
					return usage(cmd, "--domain takes the base domain, such as app.example.com")
				}
				o.domain = host
			}
			switch {
			case o.provider != "" && !o.caddy:
				return usage(cmd, "--dns-provider is for Caddy: it needs --caddy")
			case o.provider != "" && !provider.MatchString(o.provider):
				return usage(cmd, fmt.Sprintf("%.40q is not the name of a DNS module of Caddy's", o.provider))
			case !filepath.IsAbs(o.root):
				return usage(cmd, "--root takes the path of a directory, from / on")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return p.install(cmd.Context(), cmd.Root(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.domain, "domain", "", "base `domain` of all instances")
	flags.BoolVar(&o.caddy, "caddy", false, "for Caddy in front, with its Caddyfile")
	flags.StringVar(&o.provider, "dns-provider", "", "`name` of Caddy's DNS module, such as cloudflare, for wildcard certificates")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only print what would be done")
	flags.StringVar(&o.root, "root", "/", "install below a `directory`, such as a mounted image; nothing is started")
	flags.StringVar(&o.programs, "programs", "", "`directory` with ten and ten-init (default: where this ten is)")
	flags.BoolVar(&o.asJSON, "json", false, "print what is done as JSON")
	return cmd
}

func (p *program) install(ctx context.Context, root *cobra.Command, o installOptions) error {
	if !o.dryRun {
		if err := p.needsRoot("install", o.root); err != nil {
			return err
		}
	}
	brought, err := p.findAlong(ctx, o)
	if err != nil {
		return err
	}
	files, err := p.installFiles(root, o, brought)
	if err != nil {
		return err
	}
	plan, err := install.NewPlan(o.root, buildVersion, files)
	if err != nil {
		return err
	}
	if o.keepsConfig() {
		plan.Keep(packaging.ConfigPath)
	}
	p.sayAlong(o, brought, plan.Steps)
	if err := p.sayPlan(plan.Steps, o.dryRun, o.asJSON, o.also(plan.Upgrade != "")); err != nil || o.dryRun {
		return err
	}
	if err := plan.Apply(); err != nil {
		return err
	}
	if missing := o.missing(); kept(plan.Steps, packaging.ConfigPath) && len(missing) > 0 {
		p.note("%s stays as it is: see that it has %s\n", packaging.ConfigPath, strings.Join(missing, ", "))
	}
	if o.root != "/" {
		return nil
	}
	if err := p.script(ctx, "postinst", "configure", plan.Upgrade); err != nil {
		return err
	}
	if changed(plan.Steps, packaging.CaddySocket().Path) || o.caddy != plan.Has(packaging.CaddySocket().Path) {
		if err := p.reopen(ctx); err != nil {
			return err
		}
	}
	if o.caddy {
		return p.reloadCaddy(ctx)
	}
	return nil
}

// changed reports whether a file is new, or another.
func changed(steps []install.Step, path string) bool {
	return slices.ContainsFunc(steps, func(s install.Step) bool {
		return s.Path == path && (s.Change == install.Create || s.Change == install.Replace)
	})
}

// reopen has the daemon listen where the socket unit says now: the one change that closes
// its ports for a moment.
func (p *program) reopen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	for _, args := range [][]string{{"stop", "tenement.service"}, {"restart", "tenement.socket"}, {"start", "tenement.service"}} {
		if out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
			return &tenant.Error{
				Code: tenant.CodeInternal, Op: "install", Err: errors.Join(err, errors.New(string(out))),
				Msg: "tenement.socket cannot be opened anew", Hint: "systemctl status tenement.socket says why: Caddy, or another server, may have the port",
			}
		}
	}
	return nil
}

// missing gives the lines that a tenement.toml of ours would have and the one that is there
// lacks.
func (o installOptions) missing() (lines []string) {
	settings := config.Settings{}
	if cfg, err := o.load(); err == nil {
		settings = cfg.Settings
	}
	if o.domain != "" && !slices.Contains(settings.Domains, o.domain) {
		lines = append(lines, fmt.Sprintf("domain = %q", o.domain))
	}
	if o.caddy && len(settings.TrustedProxies) == 0 {
		lines = append(lines, `trusted_proxies = ["127.0.0.1", "::1"]`)
	}
	if o.caddy && settings.Public == (config.Public{}) {
		lines = append(lines, `public = "https"`)
	}
	return lines
}

func kept(steps []install.Step, path string) bool {
	return slices.ContainsFunc(steps, func(s install.Step) bool { return s.Path == path && s.Change == install.Keep })
}

// needsRoot refuses to change the machine as an ordinary user.
func (p *program) needsRoot(op, root string) error {
	if p.euid == 0 || root != "/" {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeInvalid, Op: op,
		Msg:  "only root may change what is installed on this machine",
		Hint: "use sudo; `ten serve` alone needs neither root nor an installation",
	}
}

// also says what an installation does beside the files.
func (o installOptions) also(upgrade bool) (list []string) {
	switch {
	case o.root != "/":
		return nil // the first boot does the rest
	case upgrade:
		list = append(list, "restart tenement.service; sockets and instances stay")
	default:
		list = append(list, "make the user and the group tenement, and /var/lib/tenement",
			"enable and start tenement.socket, tenement-keeper.socket and tenement.service")
	}
	if o.caddy {
		list = append(list, "reload caddy.service if it runs")
	}
	return list
}

// sayPlan prints what is done with which file, what stays as it is only where that is all,
// and in a dry run what else is done.
func (p *program) sayPlan(steps []install.Step, dryRun, asJSON bool, also []string) error {
	if asJSON {
		return printJSON(p.out, struct {
			DryRun bool           `json:"dryRun"`
			Files  []install.Step `json:"files"`
		}{dryRun, steps})
	}
	var b strings.Builder
	said := map[string]bool{}
	for _, s := range steps {
		if s.Change == install.Same && !dryRun {
			continue
		}
		line := fmt.Sprintf("%-8s%s\n", s.Change, foldPath(steps, s))
		if !said[line] {
			said[line] = true
			b.WriteString(line)
		}
	}
	if b.Len() == 0 {
		b.WriteString("all files are there already\n")
	}
	if dryRun {
		for _, line := range also {
			fmt.Fprintf(&b, "also    %s\n", line)
		}
	}
	_, err := p.out.Write([]byte(b.String()))
	return err
}

// foldPath is a step's file, or those of its kind with the same change where nobody wants to
// read each: manual pages and completions.
func foldPath(steps []install.Step, of install.Step) string {
	kind := func(path string) string {
		switch {
		case strings.HasPrefix(path, packaging.ManualDir):
			return "manual pages in " + packaging.ManualDir
		case strings.Contains(path, "completions") || strings.Contains(path, "site-functions"):
			return "shell completions in /usr/share"
		}
		return ""
	}
	n, what := 0, kind(of.Path)
	for _, s := range steps {
		if s.Change == of.Change && kind(s.Path) == what {
			n++
		}
	}
	if what == "" || n < 2 {
		return of.Path
	}
	return fmt.Sprintf("%d %s", n, what)
}

// installFiles are all files of an installation.
func (p *program) installFiles(root *cobra.Command, o installOptions, brought *along) ([]packaging.File, error) {
	files, err := packaging.Files()
	if err != nil {
		return nil, err
	}
	ten, init, err := o.findPrograms()
	if err != nil {
		return nil, err
	}
	for to, from := range map[string]string{packaging.TenPath: ten, packaging.InitPath: init} {
		text, err := os.ReadFile(from)
		if err != nil {
			return nil, &tenant.Error{
				Code: tenant.CodeInvalid, Op: "install", Err: err,
				Msg: fmt.Sprintf("the program %s cannot be read: %v", from, err), Hint: "--programs names the directory that has ten and ten-init",
			}
		}
		files = append(files, packaging.File{Path: to, Mode: 0o755, Text: text})
	}
	for _, about := range allCommands(root) {
		page, err := packaging.Manual(strings.ReplaceAll(about.CommandPath(), " ", "-")+".1", []byte(manPage(about)))
		if err != nil {
			return nil, err
		}
		files = append(files, page)
	}
	for shell, write := range map[string]func(*bytes.Buffer) error{
		"bash": func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"zsh":  func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("write the completions for %s: %w", shell, err)
		}
		_, err := os.Stat(filepath.Join(o.root, "etc/debian_version"))
		files = append(files, packaging.Completion(shell, b.Bytes(), err == nil))
	}
	for i, f := range files {
		if f.Path == packaging.ConfigPath {
			files[i].Text = packaging.Configure(f.Text, o.domain, o.caddy)
			if brought != nil {
				files[i].Text = append(files[i].Text, "\n# From "+brought.file+"\n"+strings.TrimPrefix(brought.text, "\n")...)
			}
		}
	}
	if !o.caddy {
		return files, nil
	}
	caddyfile, err := o.caddyfile(brought)
	return append(files, packaging.CaddySocket(), packaging.Caddyfile(caddyfile)), err
}

// findPrograms gives the paths of ten and ten-init.
func (o installOptions) findPrograms() (ten, init string, err error) {
	if o.programs != "" {
		return filepath.Join(o.programs, "ten"), filepath.Join(o.programs, "ten-init"), nil
	}
	if init, err = initPath(); err != nil {
		return "", "", err
	}
	if ten, err = os.Executable(); err != nil {
		return "", "", fmt.Errorf("find this program: %w", err)
	}
	ten, err = filepath.EvalSymlinks(ten)
	return ten, init, err
}

// caddyfile is that for the services of the tenement.toml that is installed, if one is, else for those that come along.
func (o installOptions) caddyfile(brought *along) ([]byte, error) {
	c := templates.Caddy{AskPath: proxy.AskPath, Upstream: packaging.CaddyUpstream, Provider: o.provider}
	path := filepath.Join(o.root, packaging.ConfigPath)
	if _, err := os.Stat(path); err == nil {
		cfg, err := o.load()
		if err != nil {
			return nil, err
		}
		c.Domains, c.Services = cfg.Settings.Domains, slices.Sorted(maps.Keys(cfg.Services))
	}
	if len(c.Services) == 0 && brought != nil {
		c.Services = brought.services
	}
	if o.domain != "" {
		c.Domains = []string{o.domain}
	}
	if len(c.Domains) == 0 {
		return nil, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "install",
			Msg: "Caddy must be told the base domain, which tenement.toml does not have", Hint: "say it: ten install --caddy --domain app.example.com",
		}
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// script runs one of the packages' scripts as dpkg would.
func (p *program) script(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-s", "--"}, args...)...)
	cmd.Stdin = bytes.NewReader(packaging.Script(name))
	cmd.Stdout, cmd.Stderr = p.err, p.err // standard output is for what is done
	if err := cmd.Run(); err != nil {
		return &tenant.Error{
			Code: tenant.CodeInternal, Op: "install", Err: err,
			Msg:  fmt.Sprintf("the files are in place, but the script %s failed: %v", name, err),
			Hint: "see what it said above; it can be run again",
		}
	}
	return nil
}

// reloadCaddy has a Caddy that runs take its new file.
func (p *program) reloadCaddy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	if exec.CommandContext(ctx, "systemctl", "is-active", "--quiet", "caddy.service").Run() != nil {
		p.note("Caddy does not run as caddy.service: start it with /etc/caddy/Caddyfile\n")
		return nil
	}
	if out, err := exec.CommandContext(ctx, "systemctl", "reload", "caddy.service").CombinedOutput(); err != nil {
		return &tenant.Error{
			Code: tenant.CodeInternal, Op: "install", Err: errors.Join(err, errors.New(string(out))),
			Msg: "Caddy does not take /etc/caddy/Caddyfile", Hint: "journalctl -u caddy says why; a module for the DNS provider may be missing",
		}
	}
	return nil
}
