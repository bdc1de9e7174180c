package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// prefix is what the paths of the API begin with.
const prefix = "/api/v1"

// askTimeout bounds a question.
const askTimeout = 30 * time.Second

// failure is an answer of the API that is no success.
type failure struct {
	status int
	retry  string // Retry-After
	told   wire.Error
}

func (f *failure) Error() string { return f.told.Message }

// call makes a request to the API within the process, in the name of who has the secret.
// r is the browser's request, for whose sake it is made.
func (d *Dashboard) call(ctx context.Context, r *http.Request, secret, method, path string, body any) (*http.Request, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://dashboard"+prefix+path, content)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.RemoteAddr = r.RemoteAddr // whose failures these are
	for _, name := range []string{"X-Forwarded-For", "X-Request-Id"} {
		if list := r.Header.Values(name); len(list) > 0 {
			req.Header[name] = list
		}
	}
	return req, nil
}

// ask makes a request to the API and decodes its answer, if into is not nil. An answer
// that is no success is a *failure.
func (d *Dashboard) ask(r *http.Request, secret, method, path string, body, into any) error {
	ctx := r.Context()
	if method == http.MethodGet { // nothing has gone wrong when a browser leaves meanwhile
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
	}
	req, err := d.call(ctx, r, secret, method, path, body)
	if err != nil {
		return err
	}
	w := &answer{header: http.Header{}}
	d.api.ServeHTTP(w, req)
	if w.status >= 300 {
		f := w.failure()
		if f.told.Code == tenant.CodeNotFound && strings.HasPrefix(path, "/instances/") {
			f.told.Hint = "it may have been destroyed meanwhile: the list of instances has those that there are, and makes new ones"
		}
		return f
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(w.body.Bytes(), into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// answer takes what the API answers.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) failure() *failure {
	var body wire.Failure
	if err := json.Unmarshal(a.body.Bytes(), &body); err != nil || body.Error.Message == "" {
		body.Error = wire.Error{Code: tenant.CodeInternal, Message: fmt.Sprintf("the API answered with status %d", a.status)}
	}
	return &failure{status: a.status, retry: a.header.Get("Retry-After"), told: body.Error}
}

// open makes a request whose answer is a stream. The body ends when ctx does, or the
// API's stream; closing it ends that too, and waits for it.
func (d *Dashboard) open(ctx context.Context, r *http.Request, secret, path string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := d.call(ctx, r, secret, http.MethodGet, path, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	reader, writer := io.Pipe()
	w := &flow{answer: answer{header: http.Header{}}, to: writer, begun: make(chan struct{})}
	var work sync.WaitGroup
	work.Go(func() {
		d.api.ServeHTTP(w, req)
		w.start(http.StatusOK)
		writer.Close()
	})
	body := &flowBody{PipeReader: reader, cancel: cancel, work: &work}
	<-w.begun // the API bounds its own waits
	if w.status >= 300 {
		_, err := io.Copy(&w.body, reader)
		_ = body.Close()
		if err != nil {
			return nil, err
		}
		return nil, w.failure()
	}
	return body, nil
}

// flow hands what the API writes to who reads it.
type flow struct {
	answer
	to    *io.PipeWriter
	begun chan struct{}
	once  sync.Once
}

func (f *flow) start(status int) {
	f.once.Do(func() {
		f.status = status
		close(f.begun)
	})
}

func (f *flow) WriteHeader(status int) { f.start(status) }

func (f *flow) Write(p []byte) (int, error) {
	f.start(http.StatusOK)
	return f.to.Write(p)
}

// Flush is there because the API wants to.
func (f *flow) Flush() { f.start(http.StatusOK) }

// SetWriteDeadline is too: the pipe's reader is in this process and always reads.
func (f *flow) SetWriteDeadline(time.Time) error { return nil }

type flowBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	work   *sync.WaitGroup
}

func (b *flowBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	b.work.Wait()
	return err
}
