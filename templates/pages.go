package templates

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed waiting.html
var waitingHTML string

//go:embed error.html
var errorHTML string

var (
	waitingPage = template.Must(template.New("waiting").Parse(waitingHTML))
	errorPage   = template.Must(template.New("error").Parse(errorHTML))
)

// Waiting is the page for people whose instance takes long to start.
type Waiting struct {
	// Nonce is the one of its script in the Content-Security-Policy.
	Nonce string
	// Progress is the path of the events that tell when it is awake.
	Progress string
}

// Write writes the page.
func (w Waiting) Write(to io.Writer) error {
	if err := waitingPage.Execute(to, w); err != nil {
		return fmt.Errorf("write waiting page: %w", err)
	}
	return nil
}

// Error is the page for people whose request has failed.
type Error struct {
	Status int
	Code   string
	// Title and Text say what has happened, to anybody; Detail and Hint more, to those
	// who may know.
	Title, Text, Detail, Hint string
	// RequestID is the request's, for those who ask what has happened.
	RequestID string
}

// Write writes the page.
func (e Error) Write(to io.Writer) error {
	if err := errorPage.Execute(to, e); err != nil {
		return fmt.Errorf("write error page: %w", err)
	}
	return nil
}
