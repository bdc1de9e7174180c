package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

func newInitCommand(p *program) *cobra.Command {
	var name, command string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init [DIRECTORY]",
		Short: "Write a tenement.toml for the app in a directory",
		Long: `Write a tenement.toml for the app in a directory, this one where none is named. It looks
what the app is written in (Python, with uv or without, Node, Go, Rust, Ruby, PHP), and what
its command, its health path and its name may be; --name and --command say so themselves.
What it has guessed is for you to check. A file that is there already is left alone.`,
		Example: "  ten init\n  ten init --name notes --command \"python3 app.py\"",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "`ten init` takes one directory")
			}
			if name != "" {
				return tenant.CheckLabel("service", name)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return p.init(strings.Join(args, ""), name, command, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "the service's `name` (default: the directory's, or the project's)")
	flags.StringVar(&command, "command", "", "the `command` that runs the app")
	flags.BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

func (p *program) init(dir, name, command string, asJSON bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find the directory: %w", err)
	}
	project, err := detect(dir)
	if err != nil {
		return err
	}
	if name != "" {
		project.Service = name
	}
	if command != "" {
		project.Command, project.Before = command, ""
	}
	if project.Command == "" {
		return &tenant.Error{
			Code: tenant.CodeInvalid, Op: "init",
			Msg:  "what runs the app in " + dir + " is not plain: there is no pyproject.toml, app.py, package.json, go.mod, Cargo.toml, config.ru or index.php",
			Hint: `say it: ten init --command "python3 app.py"`,
		}
	}
	var text strings.Builder
	if err := project.Write(&text); err != nil {
		return err
	}
	path := filepath.Join(dir, "tenement.toml")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &tenant.Error{
			Code: tenant.CodeConflict, Op: "init", Err: err,
			Msg: path + " is there already, and stays as it is", Hint: "`ten config check` looks at it",
		}
	}
	if err != nil {
		return fmt.Errorf("write tenement.toml: %w", err)
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write tenement.toml: %w", errors.Join(err, os.Remove(path)))
	}
	// What is missing yet, such as a program that is not built, is told and no fault of init's.
	missing := []string{}
	if _, err := config.Load(path); err != nil {
		missing = strings.Split(err.Error(), "\n")
	}
	err = p.say(done{fmt.Sprintf("wrote %s: service %s, a %s project, run by: %s", path, project.Service, project.Kind, project.Command), struct {
		Path    string   `json:"path"`
		Service string   `json:"service"`
		Kind    string   `json:"kind"`
		Command string   `json:"command"`
		Missing []string `json:"missing"`
	}{path, project.Service, project.Kind, project.Command, missing}}, asJSON)
	if err != nil || asJSON {
		return err
	}
	if project.Before != "" {
		p.note("first: %s\n", clean(project.Before))
	}
	for _, line := range missing {
		p.note("still missing: %s\n", clean(line))
	}
	p.note("then: ten serve, and in another terminal: ten spawn %s:alice\n", project.Service)
	return nil
}

// detect finds out what the app in a directory is.
func detect(dir string) (templates.Project, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return templates.Project{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "init", Err: err,
			Msg: "there is no directory " + dir, Hint: "name the one that the app is in",
		}
	}
	p := detectProject(source{dir})
	p.Service = asLabel(p.Service)
	if p.Service == "" {
		p.Service = asLabel(filepath.Base(dir))
	}
	if p.Service == "" {
		p.Service = "app"
	}
	return p, nil
}

// asLabel makes a service's name of a project's; empty where nothing of it can be kept.
func asLabel(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:] // Node's scopes, Go's modules
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
	return strings.Trim(name[:min(len(name), tenant.MaxLabel)], "-")
}
