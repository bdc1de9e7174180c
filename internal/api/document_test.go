package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tenement.dev/internal/api"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// contract holds answers against the document.
type contract struct {
	paths    map[string]map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex // guards compiler, and seen
	seen     map[string]bool
}

const documentURL = "mem:///openapi.json"

// theContract is the real document, made strict: what it does not speak of may not be.
var theContract = sync.OnceValues(func() (*contract, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(api.Document))
	if err != nil {
		return nil, err
	}
	strict(doc, false)
	c := &contract{compiler: jsonschema.NewCompiler(), paths: map[string]map[string]any{}, seen: map[string]bool{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(documentURL, doc); err != nil {
		return nil, err
	}
	var typed struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(api.Document, &typed); err != nil {
		return nil, err
	}
	c.paths = typed.Paths
	return c, nil
})

// strict has each reference to a schema allow the properties that it names alone, but
// for those that are put together to one.
func strict(v any, part bool) {
	switch v := v.(type) {
	case map[string]any:
		ref, isRef := v["$ref"].(string)
		if isRef && !part && strings.HasPrefix(ref, "#/components/schemas/") {
			v["unevaluatedProperties"] = false
		}
		for key, inner := range v {
			if key == "allOf" {
				list, _ := inner.([]any)
				for _, element := range list {
					strict(element, true)
				}
				continue
			}
			strict(inner, false)
		}
	case []any:
		for _, inner := range v {
			strict(inner, false)
		}
	}
}

// operation finds what the document says of a request.
func (c *contract) operation(method, path string) (pointer, id string, op map[string]any) {
	path, _, _ = strings.Cut(path, "?")
	path, ok := strings.CutPrefix(path, api.Prefix)
	if !ok {
		return "", "", nil
	}
	for template, item := range c.paths {
		want, got := strings.Split(template, "/"), strings.Split(path, "/")
		fits := len(want) == len(got)
		for i := range want {
			fits = fits && (strings.HasPrefix(want[i], "{") && got[i] != "" || want[i] == got[i])
		}
		op, ok := item[strings.ToLower(method)].(map[string]any)
		if fits && ok && !strings.Contains(path, "//") {
			escaped := strings.ReplaceAll(strings.ReplaceAll(template, "~", "~0"), "/", "~1")
			id, _ := op["operationId"].(string)
			return "#/paths/" + url.PathEscape(escaped) + "/" + strings.ToLower(method), id, op
		}
	}
	return "", "", nil
}

// check holds one JSON text against a schema of the document.
func (c *contract) check(pointer string, text []byte) error {
	c.mu.Lock()
	schema, err := c.compiler.Compile(documentURL + pointer)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// conform reports how an exchange differs from what the document says.
func conform(method, path, sent string, status int, contentType, body string) error {
	c, err := theContract()
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return fmt.Errorf("%s %s, %d: not as openapi.json has it: %w\n%.2000s", method, path, status, err, body)
	}
	if status >= 400 {
		if err := c.check("#/components/schemas/Failure", []byte(body)); err != nil {
			return fail(err)
		}
		return nil
	}
	pointer, id, op := c.operation(method, path)
	if op == nil {
		return fail(fmt.Errorf("there is no such operation"))
	}
	if sent != "" && !strings.Contains(fmt.Sprint(op["requestBody"]), wire.ArchiveType) {
		if err := c.check(pointer+"/requestBody/content/application~1json/schema", []byte(sent)); err != nil {
			return fail(fmt.Errorf("the request was taken all the same: %w", err))
		}
	}
	responses, _ := op["responses"].(map[string]any)
	response, ok := responses[fmt.Sprint(status)].(map[string]any)
	if !ok {
		return fail(fmt.Errorf("there is no such answer"))
	}
	c.mu.Lock()
	c.seen[id] = true
	c.mu.Unlock()
	contents, _ := response["content"].(map[string]any)
	if contents == nil && body == "" {
		return nil
	}
	if _, ok := contents[contentType]; !ok {
		return fail(fmt.Errorf("%q is no type of this answer", contentType))
	}
	schema := fmt.Sprintf("%s/responses/%d/content/%s/schema", pointer, status, strings.ReplaceAll(contentType, "/", "~1"))
	texts := []string{body}
	switch contentType {
	case "text/event-stream", wire.ArchiveType:
		return nil // it is never whole here, or no text
	case "application/x-ndjson":
		texts = strings.Split(body, "\n")
	}
	for _, text := range texts {
		if strings.TrimSpace(text) == "" && contentType != "application/json" {
			continue
		}
		if err := c.check(schema, []byte(text)); err != nil {
			return fail(err)
		}
	}
	return nil
}

// The document is one of OpenAPI 3.1, and has the operations that there are.
func TestDocument(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(api.Document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("it is not valid: %v", err)
	}
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	type operation struct{ method, path string }
	ops := map[operation]bool{}
	for path, item := range c.paths {
		for method := range item {
			if method != "parameters" {
				ops[operation{strings.ToUpper(method), path}] = true
			}
		}
	}
	for _, rt := range api.Routes() {
		at := operation{rt.Method, rt.Path}
		if !ops[at] {
			t.Errorf("%s %s is a route that is not in the document", rt.Method, rt.Path)
			continue
		}
		delete(ops, at)
		op, _ := c.paths[rt.Path][strings.ToLower(rt.Method)].(map[string]any)
		if op["operationId"] != rt.Action || op["x-access"] != rt.Access {
			t.Errorf("%s %s: got %v for %v, want %s for %s", rt.Method, rt.Path, op["operationId"], op["x-access"], rt.Action, rt.Access)
		}
		if _, open := op["security"]; open != (rt.Access == "anyone") {
			t.Errorf("%s %s: whether it needs a token is not as the route has it", rt.Method, rt.Path)
		}
		var query []string
		parameters, _ := op["parameters"].([]any)
		for _, p := range parameters {
			if p, ok := p.(map[string]any); ok && p["in"] == "query" {
				query = append(query, fmt.Sprint(p["name"]))
			}
		}
		if want := slices.Clone(rt.Query); !slices.Equal(slices.Sorted(slices.Values(query)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s %s: got parameters %q, want %q", rt.Method, rt.Path, query, want)
		}
	}
	for op := range ops {
		t.Errorf("%s %s is in the document and no route", op.method, op.path)
	}
}

// Each operation works and answers as the document says: exchange and over look.
func TestAnswersAsDocumented(t *testing.T) {
	d := start(t)
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	clear(c.seen)
	c.mu.Unlock()
	id, _ := give(t, d, tenant.Token{Tenant: "alice", Allow: tenant.Permissions(), Description: "x"})
	for _, step := range []struct {
		want               int
		method, path, body string
	}{
		{200, "GET", "/openapi.json", ""},
		{200, "GET", "/self", ""},
		{200, "GET", "/version", ""},
		{200, "GET", "/doctor", ""},
		{200, "GET", "/services", ""},
		{200, "POST", "/reload", ""},
		{201, "POST", "/instances", `{"id":"notes:alice"}`},
		{201, "POST", "/instances", `{"id":"notes:bob"}`},
		{200, "POST", "/instances/notes:alice/weight", `{"weight":7}`},
		{200, "POST", "/instances/notes:alice/weight", `{"weight":null}`},
		{200, "POST", "/instances/notes:alice/keep-awake", `{"for_ms":60000}`},
		{200, "POST", "/instances/notes:alice/limits", `{"set":{"memory":1048576},"reset":["tasks"]}`},
		{200, "GET", "/instances/notes:alice/limits", ""},
		{201, "POST", "/instances/notes:carol/deploy", `{"weight":null,"timeout_ms":1000}`},
		{200, "POST", "/services/notes/route", `{"from":"alice","to":"bob"}`},
		{201, "POST", "/domains", `{"host":"a.example","id":"notes:alice"}`},
		{201, "POST", "/domains", `{"host":"b.example","id":"notes:alice","verify":true}`},
		{200, "GET", "/domains", ""},
		{200, "POST", "/domains/b.example/verify", ""},
		{200, "POST", "/instances/notes:alice/pause", `{"message":"soon","for_ms":60000}`},
		{200, "GET", "/instances/notes:alice", ""},
		{200, "DELETE", "/instances/notes:alice/pause", ""},
		{200, "POST", "/services/notes/pause", `{}`},
		{200, "DELETE", "/services/notes/pause", ""},
		{200, "PUT", "/instances/notes:alice/secrets/KEY", `{"value":"eA==","env":true}`},
		{200, "PUT", "/services/notes/secrets/KEY2", `{"value":"eA=="}`},
		{200, "GET", "/instances/notes:alice/secrets", ""},
		{200, "GET", "/services/notes/secrets", ""},
		{200, "DELETE", "/instances/notes:alice/secrets/KEY", ""},
		{200, "DELETE", "/services/notes/secrets/KEY2", ""},
		{201, "POST", "/services/notes/rollout", `{"release":"slow","canary":["alice"],"canary_percent":10,"batch":5,"pause_ms":1000}`},
		{200, "GET", "/services/notes/rollout", ""},
		{200, "POST", "/services/notes/rollout/pause", ""},
		{200, "POST", "/services/notes/rollout/resume", ""},
		{200, "POST", "/services/notes/rollout/rollback", ""},
		{201, "POST", "/services/notes/rollout", `{"release":"slow"}`},
		{200, "POST", "/services/notes/rollout/abort", ""},
		{200, "GET", "/services/notes/rollout/events", ""},
		{200, "GET", "/instances?limit=1", ""},
		{200, "GET", "/instances/notes:alice/why", ""},
		{200, "GET", "/instances/notes:alice/logs", ""},
		{200, "GET", "/logs?service=notes", ""},
		{200, "GET", "/usage?month=2026-10", ""},
		{200, "GET", "/history?service=notes", ""},
		{200, "GET", "/instances/notes:alice/backup", ""},
		{200, "POST", "/instances/notes:alice/restore?force=true&keep_old=true", "backup of notes:bob"},
		{201, "POST", "/import?as=notes:dave", "backup of notes:bob"},
		{200, "POST", "/instances/notes:alice/doze", ""},
		{200, "POST", "/instances/notes:alice/stop", ""},
		{200, "POST", "/instances/notes:alice/wake", ""},
		{200, "POST", "/instances/notes:alice/restart", ""},
		{204, "DELETE", "/domains/a.example", ""},
		{204, "DELETE", "/instances/notes:alice", ""},
		{201, "POST", "/tokens", `{"tenant":"alice","allow":["wake"],"description":"d","for_ms":1000}`},
		{200, "GET", "/tokens", ""},
		{204, "DELETE", "/tokens/" + id, ""},
	} {
		if status, text, err := ask(d.Path, step.method, api.Prefix+step.path, step.body); err != nil || status != step.want {
			t.Errorf("%s %s: got %d %s, %v, want %d", step.method, step.path, status, text, err, step.want)
		}
	}
	// The stream of events, and one of them.
	_, admin := give(t, d, tenant.Token{})
	s := follow(t, d, admin, api.Prefix+"/events", "")
	d.Events.Publish(event.Event{Kind: event.State, Instance: alice, Actor: "root"})
	if err := conform("GET", api.Prefix+"/events", "", s.resp.StatusCode, s.resp.Header.Get("Content-Type"), "whatever"); err != nil {
		t.Error(err)
	}
	if _, _, data := s.event(); c.check("#/components/schemas/Event", []byte(data)) != nil {
		t.Errorf("an event is not as the document has it: %v", c.check("#/components/schemas/Event", []byte(data)))
	}
	for _, rt := range api.Routes() {
		if !c.seen[rt.Action] {
			t.Errorf("%s (%s %s) was not tried, or never worked", rt.Action, rt.Method, rt.Path)
		}
	}
}

// The examples that other programs may be made from are the file that is served.
func TestDocumentIsServed(t *testing.T) {
	d := start(t)
	file, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	status, header, text := over(t, d, "", http.MethodGet, api.Prefix+"/openapi.json", "")
	if status != 200 || header.Get("Content-Type") != "application/json" || text != string(file) {
		t.Errorf("got %d %v and %d bytes", status, header, len(text))
	}
}
