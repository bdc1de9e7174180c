package config

import (
	"fmt"

	"tenement.dev/templates"
)

// checkPages reads the service's own pages. What is wrong with one is a fault of its file.
func (d *decoder) checkPages(s *draft) {
	if !s.given["error_pages"] || !s.sound("error_pages") {
		return
	}
	s.ErrorPages = absolute(d.config.Dir, s.ErrorPages)
	if d.unseen {
		return
	}
	pages, faults, err := templates.ReadPages(s.ErrorPages)
	if err != nil {
		d.fault(child(s.path, "error_pages"), &problem{
			msg:  fmt.Sprintf("the directory %s cannot be read: %s", s.ErrorPages, reason(err)),
			hint: "put 404.html, 503.html or error.html there",
		})
	}
	for _, f := range faults {
		d.faults = append(d.faults, Fault{File: f.File, Line: f.Line, Msg: f.Msg})
	}
	s.Pages = pages
}
