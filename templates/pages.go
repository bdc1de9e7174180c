package templates

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
)

//go:embed waiting.html
var waitingHTML string

//go:embed error.html
var errorHTML string

var (
	waitingPage = template.Must(template.New("waiting").Parse(waitingHTML))
	errorPage   = template.Must(template.New("error").Parse(errorHTML))
)

// Page is what the pages for people may say. docs/pages.md lists the fields.
type Page struct {
	// Status is the HTTP status, Code the kind of failure, as in the header Tenement-Error.
	Status int
	Code   string
	// Title and Text say what has happened, to anybody; Message is that of a pause.
	Title, Text, Message string
	// Detail and Hint say more, to clients on this machine only.
	Detail, Hint string
	// RequestID is the request's, for those who ask what has happened. Host is the host
	// name that was asked for.
	RequestID, Host string
	// RetryAfter is in how many seconds to come again, 0 where that is not known.
	RetryAfter int

	// Waiting is true for the page that is shown while an instance wakes. Progress is then
	// the path of the events that tell when it is awake, and Nonce the one of the page's
	// script in the Content-Security-Policy.
	Waiting         bool
	Nonce, Progress string
}

// names are the templates that may be there for the page, the best one first.
func (p Page) names() []string {
	switch {
	case p.Waiting:
		return []string{"waiting.html"}
	case p.Code == "paused":
		return []string{"paused.html", "503.html", "error.html"}
	}
	return []string{fmt.Sprintf("%d.html", p.Status), "error.html"}
}

// Render gives the page of a service with pages of its own, which may be nil, or the
// standard one. own reports which.
func (p Page) Render(pages *Pages) (html []byte, own bool, err error) {
	t := pages.find(p.names())
	if own = t != nil; !own {
		if t = errorPage; p.Waiting {
			t = waitingPage
		}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, own, fmt.Errorf("make page: %w", err)
	}
	return b.Bytes(), own, nil
}
