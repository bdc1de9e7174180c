package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// ErrNoDaemon says that nobody answers at the socket.
var ErrNoDaemon = errors.New("no daemon")

const (
	dialTimeout = 5 * time.Second
	// askTimeout bounds questions that the daemon answers from memory, promptness when their
	// answer must begin (a daemon that hangs does not), and probeTimeout the one for which it
	// starts a unit.
	askTimeout   = 30 * time.Second
	promptness   = 5 * time.Second
	probeTimeout = 2 * time.Minute
	// maxAnswer bounds an answer, but for logs, in bytes.
	maxAnswer = 64 << 20
)

// Client asks one daemon. Its methods may be called at the same time.
type Client struct {
	place string // where the daemon is, as people know it
	base  string // of URLs
	token string // or empty
	http  *http.Client
	// promptness is within what time answers begin that need no work.
	promptness time.Duration
	// heard is whether the daemon has answered: until then systemd may hold the socket for one that does not come up.
	heard atomic.Bool
}

// New makes a client of the daemon whose socket is at path. It does not connect.
func New(path string) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Client{
		place: path, promptness: promptness,
		base: "http://tenement", // the host is for HTTP's sake only
		http: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", path)
			},
			DisableCompression: true,
		}},
	}
}

// NewRemote makes a client of the daemon whose API is served at base, such as
// "https://example.com", to who has the token. It does not connect.
func NewRemote(base, token string) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Client{
		place: base, base: base, token: token, promptness: promptness,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
				TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true, DisableCompression: true,
			},
			// The token is for that place alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// remote reports whether the daemon is reached by its URL.
func (c *Client) remote() bool { return c.place == c.base }

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

// send makes a request, with body as JSON, or as it is if it is a reader. An answer that is not 2xx is an error; of one that is, the
// caller closes the body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	return c.sendTo(ctx, method, "/api/v1"+path, body)
}

// sendTo is send for a path that is not below the API's.
func (c *Client) sendTo(ctx context.Context, method, path string, body any) (*http.Response, error) {
	content, isArchive := body.(io.Reader)
	if body != nil && !isArchive {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if isArchive {
		req.Header.Set("Content-Type", wire.ArchiveType)
	} else if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refusal(ctx, resp)
}

// errLate ends a question whose answer does not begin.
var errLate = errors.New("no answer begins")

type promptKey struct{}

// promptly bounds a question that is answered at once.
func promptly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(ctx, promptKey{}, true), askTimeout)
}

// do makes a request of ctx. The error is in words.
func (c *Client) do(ctx context.Context, req *http.Request) (*http.Response, error) {
	if err := c.greet(ctx); err != nil {
		return nil, err
	}
	if ctx.Value(promptKey{}) != nil && req.Method == http.MethodGet { // what changes something may write first
		waiting, giveUp := context.WithCancelCause(ctx) // ends with ctx, after the answer
		late := time.AfterFunc(c.promptness, func() { giveUp(errLate) })
		defer late.Stop()
		ctx, req = waiting, req.WithContext(waiting)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	c.heard.Store(true)
	return resp, nil
}

// greet finds out whether the daemon at a socket answers at all, before it is asked for what may take its time. A daemon of
// systemd's that fails with each start would leave who asks waiting in the socket's queue, for ever.
func (c *Client) greet(ctx context.Context) error {
	if c.remote() || c.heard.Load() || ctx.Value(promptKey{}) != nil {
		return nil
	}
	ctx, cancel := promptly(ctx)
	defer cancel()
	resp, err := c.sendTo(ctx, http.MethodGet, "/api/v1/version", nil)
	if err == nil {
		return resp.Body.Close()
	}
	if c.heard.Load() { // who may not ask that is told so by the answer to what he asks
		return nil
	}
	return err
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
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		return &tenant.Error{
			Code: tenant.CodeInvalid, Op: "ask the daemon", Err: fmt.Errorf("status %s", resp.Status),
			Msg: fmt.Sprintf("%s sends elsewhere: to %.200q", c.place, to), Hint: "use that address, if it is the daemon's",
		}
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
		Msg: fmt.Sprintf("what answers at %s is not a Tenement daemon that this ten understands", c.place),
		Hint: choose(c.remote(), "is it the address of the management API (api_listen, or api_domain), and are both of one version?",
			"are both of one version? otherwise look who has it: ss -xlp"),
	}
}

// explain puts in words why a request got no whole answer.
func (c *Client) explain(ctx context.Context, err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err // without the URL, which names no real host
	}
	e := &tenant.Error{Code: tenant.CodeUnavailable, Op: "ask the daemon", Err: err}
	var lookup *net.DNSError
	var insecure *tls.CertificateVerificationError
	switch {
	case errors.As(err, &lookup):
		e.Msg = fmt.Sprintf("there is no such host as in %s: %v", c.place, lookup)
		e.Hint = "see --server, or TENEMENT_SERVER"
	case errors.As(err, &insecure):
		e.Msg = fmt.Sprintf("the certificate of %s is not good: %v", c.place, insecure)
		e.Hint = "use the name that the certificate is for"
	case errors.Is(context.Cause(ctx), errLate):
		e.Msg = fmt.Sprintf("the daemon at %s does not begin to answer within %v", c.place, c.promptness)
		e.Hint = "it does not come up, hangs, or the machine is busy: its log may say why (`journalctl -u tenement`, if systemd runs it); with WatchdogSec= systemd restarts one that hangs"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Msg = fmt.Sprintf("the daemon at %s does not answer", c.place)
		e.Hint = "its log may say what it waits for"
	case ctx.Err() != nil:
		e.Msg, e.Err = "interrupted", context.Cause(ctx)
		e.Hint = "what the daemon has begun goes on; `ten ps` shows it"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTSOCK):
		e.Msg = fmt.Sprintf("no Tenement daemon answers at %s", c.place)
		e.Hint = choose(c.remote(), "see --server, or TENEMENT_SERVER, and api_listen in the daemon's tenement.toml", "start one with `ten serve`")
		e.Err = errors.Join(ErrNoDaemon, err)
	case errors.Is(err, fs.ErrPermission):
		e.Msg = fmt.Sprintf("no permission to use the daemon's socket %s", c.place)
		e.Hint = "use sudo, or the user that runs the daemon; of a packaged one be a member of the group tenement"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Msg = fmt.Sprintf("the daemon at %s does not answer", c.place)
		e.Hint = "its log may say what it waits for"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Msg = fmt.Sprintf("the daemon at %s went away in the middle of an answer", c.place)
		e.Hint = "see whether it still runs, and ask again"
	default:
		return c.stranger(err)
	}
	return e
}

func choose(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
