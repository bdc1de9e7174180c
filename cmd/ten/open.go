package main

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newOpenCommand(p *program) *cobra.Command {
	var asJSON, printOnly bool
	cmd := &cobra.Command{
		Use:   "open SERVICE|INSTANCE",
		Short: "Print where an instance answers, and open it in a browser",
		Long: `Print the URL of an instance, or of a service's own host name, and open it in a browser
where a desktop runs. The first request wakes it.`,
		Example: "  ten open notes:alice\n  ten open notes --print",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "`ten open` needs an instance or a service, such as notes:alice or notes")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			whom, err := parseWhom(args)
			if err != nil {
				return err
			}
			where, err := p.urlOf(cmd.Context(), whom)
			if err != nil {
				return err
			}
			if err := p.say(done{where, struct {
				URL string `json:"url"`
			}{where}}, asJSON); err != nil || asJSON || printOnly {
				return err
			}
			return p.browse(cmd.Context(), where)
		},
	}
	cmd.Flags().BoolVar(&printOnly, "print", false, "open nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON, and open nothing")
	return cmd
}

// urlOf asks where an instance, or a service, answers.
func (p *program) urlOf(ctx context.Context, whom tenant.ID) (where string, err error) {
	unknown := &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "open",
		Msg: "the daemon does not know at which URL " + strings.TrimSuffix(whom.String(), ":") + " answers",
	}
	err = p.ask(func(c *client.Client) error {
		if whom.Name != "" {
			inst, err := c.Get(ctx, whom)
			where = inst.URL
			return err
		}
		list, err := c.List(ctx, whom.Service)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return &tenant.Error{
				Code: tenant.CodeNotFound, Op: "open", Msg: fmt.Sprintf("service %s has no instance that could answer", whom.Service),
				Hint: fmt.Sprintf("`ten spawn %s:NAME` creates one", whom.Service),
			}
		}
		// A service's own host name is that of its instances without their names.
		if err := checkHasHost(ctx, c, whom.Service); err != nil {
			return err
		}
		u, err := url.Parse(list[0].URL)
		if err != nil || list[0].URL == "" {
			return unknown
		}
		u.Host = strings.TrimPrefix(u.Host, list[0].ID.Name+".")
		where = u.String()
		return nil
	})
	if err == nil && where == "" {
		err = unknown
	}
	return where, err
}

// checkHasHost reports whether a service answers at its own host name; who may not ask for
// that, with a tenant's token, is told by the answer there.
func checkHasHost(ctx context.Context, c *client.Client, service string) error {
	list, err := c.Services(ctx)
	if err != nil && tenant.CodeOf(err) != wire.CodeForbidden {
		return err
	}
	for _, s := range list {
		if s.Name == service && !s.ServiceHost {
			return &tenant.Error{
				Code: tenant.CodeNotFound, Op: "open", Msg: fmt.Sprintf("%s does not answer at its own host name, as service_host of it is false", service),
				Hint: fmt.Sprintf("name an instance, such as %s:NAME", service),
			}
		}
	}
	return nil
}

// browse opens a URL where there is a desktop, and does nothing elsewhere.
func (p *program) browse(ctx context.Context, where string) error {
	if p.getenv("DISPLAY") == "" && p.getenv("WAYLAND_DISPLAY") == "" {
		return nil
	}
	path, err := exec.LookPath("xdg-open")
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := exec.CommandContext(ctx, path, where).Run(); err != nil {
		return fmt.Errorf("open a browser: %w", err)
	}
	return nil
}
