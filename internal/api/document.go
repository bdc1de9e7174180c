package api

import (
	_ "embed" // for the document
	"net/http"
)

// Document is the OpenAPI 3.1 document of the API. A test holds it against the routes
// and their answers.
//
//go:embed openapi.json
var Document []byte

func (a *API) getDocument(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(Document) // an error means that the client has gone
	return nil
}
