package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// ErrNoDaemon says that nobody answers at the socket.
var ErrNoDaemon = errors.New("no daemon")

const (
	dialTimeout = 5 * time.Second
	// askTimeout bounds questions that the daemon answers from memory, probeTimeout the
	// one for which it starts a unit.
	askTimeout   = 30 * time.Second
	probeTimeout = 2 * time.Minute
	// maxAnswer bounds an answer, but for logs, in bytes.
	maxAnswer = 64 << 20
)

// Client asks one daemon. Its methods may be called at the same time.
type Client struct {
	path string
	http *http.Client
}

// New makes a client of the daemon whose socket is at path. It does not connect.
func New(path string) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Client{
		path: path,
		http: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", path)
			},
			DisableCompression: true,
		}},
	}
}

// Path is where the daemon's socket is.
func (c *Client) Path() string { return c.path }

// Close closes connections that are kept open for more requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ask makes a request and decodes the answer's JSON into answer, if that is not nil.
func (c *Client) ask(ctx context.Context, method, path string, body, answer any) (status int, err error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if answer == nil {
		return resp.StatusCode, nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return 0, c.explain(ctx, err)
	}
	return resp.StatusCode, nil
}

// send makes a request. An answer that is not 2xx is an error; of one that is, the
// caller closes the body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	// The host is for HTTP's sake only.
	req, err := http.NewRequestWithContext(ctx, method, "http://tenement/api/v1"+path, content)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refusal(ctx, resp)
}

// refusal makes an error of an answer that is not 2xx.
func (c *Client) refusal(ctx context.Context, resp *http.Response) error {
	var f wire.Failure
	err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&f)
	if err == nil && f.Error.Code != "" && f.Error.Message != "" {
		return failure(f.Error)
	}
	if err != nil && ctx.Err() != nil {
		return c.explain(ctx, err)
	}
	return c.stranger(fmt.Errorf("status %s", resp.Status))
}

func failure(e wire.Error) error {
	return &tenant.Error{Code: e.Code, Op: "ask the daemon", Msg: e.Message, Hint: e.Hint, Log: e.Log}
}

// stranger is the error where what answers does not speak this API.
func (c *Client) stranger(cause error) error {
	return &tenant.Error{
		Code: tenant.CodeUnsupported, Op: "ask the daemon", Err: cause,
		Msg:  fmt.Sprintf("what answers at %s is not a Tenement daemon that this ten understands", c.path),
		Hint: "are both of one version? otherwise look who has it: ss -xlp",
	}
}

// explain puts in words why a request got no whole answer.
func (c *Client) explain(ctx context.Context, err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err // without the URL, which names no real host
	}
	e := &tenant.Error{Code: tenant.CodeUnavailable, Op: "ask the daemon", Err: err}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Msg = fmt.Sprintf("the daemon at %s does not answer", c.path)
		e.Hint = "its log may say what it waits for"
	case ctx.Err() != nil:
		e.Msg, e.Err = "interrupted", context.Cause(ctx)
		e.Hint = "what the daemon has begun goes on; `ten ps` shows it"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTSOCK):
		e.Msg = fmt.Sprintf("no Tenement daemon answers at %s", c.path)
		e.Hint = "start one with `ten serve`"
		e.Err = errors.Join(ErrNoDaemon, err)
	case errors.Is(err, fs.ErrPermission):
		e.Msg = fmt.Sprintf("no permission to use the daemon's socket %s", c.path)
		e.Hint = "use sudo, or the user that runs the daemon"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Msg = fmt.Sprintf("the daemon at %s does not answer", c.path)
		e.Hint = "its log may say what it waits for"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Msg = fmt.Sprintf("the daemon at %s went away in the middle of an answer", c.path)
		e.Hint = "see whether it still runs, and ask again"
	default:
		return c.stranger(err)
	}
	return e
}
