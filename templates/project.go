package templates

import (
	_ "embed"
	"fmt"
	"io"
	"strconv"
	"text/template"
)

//go:embed tenement.toml.tmpl
var scaffold string

// Project is what is known of an app for which there is no tenement.toml yet.
type Project struct {
	// Kind is what it is written in, for people.
	Kind string
	// Service is the name of its service.
	Service string
	// Command runs it. Before is the command that makes what it runs, empty for none, and
	// Note a line about the two, or empty.
	Command, Before, Note string
	// Health is the path that tells of its health, empty where that is not known.
	Health string
	// Env is what its environment needs beside DATA_DIR.
	Env map[string]string
}

// Write writes a tenement.toml with comments.
func (p Project) Write(w io.Writer) error {
	t, err := template.New("tenement.toml").Funcs(template.FuncMap{"quote": strconv.Quote}).Parse(scaffold)
	if err == nil {
		err = t.Execute(w, p)
	}
	if err != nil {
		return fmt.Errorf("write tenement.toml: %w", err)
	}
	return nil
}
