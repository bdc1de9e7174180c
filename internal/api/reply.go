package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// statuses are the HTTP statuses of the codes; a code that is missing is 500.
var statuses = map[tenant.Code]int{
	tenant.CodeInvalid:      http.StatusBadRequest,
	wire.CodeUnauthorized:   http.StatusUnauthorized,
	wire.CodeForbidden:      http.StatusForbidden,
	tenant.CodeNotFound:     http.StatusNotFound,
	tenant.CodeConflict:     http.StatusConflict,
	tenant.CodeLimit:        http.StatusTooManyRequests,
	tenant.CodeInternal:     http.StatusInternalServerError,
	tenant.CodeUnsupported:  http.StatusNotImplemented,
	tenant.CodeStartFailed:  http.StatusServiceUnavailable,
	tenant.CodeFailed:       http.StatusServiceUnavailable,
	tenant.CodeUnavailable:  http.StatusServiceUnavailable,
	tenant.CodePaused:       http.StatusServiceUnavailable,
	tenant.CodeStartTimeout: http.StatusGatewayTimeout,
}

// statusError is an error with a status of its own.
type statusError struct {
	status int
	err    *tenant.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func invalid(msg, hint string, cause error) *tenant.Error {
	return &tenant.Error{Code: tenant.CodeInvalid, Op: "read request", Msg: msg, Hint: hint, Err: cause}
}

// quote shows what a client sent, cut and on one line.
func quote(s string) string { return fmt.Sprintf("%.80q", s) }

// describe gives what of err people may see, and its HTTP status.
func describe(err error) (int, wire.Error, time.Duration) {
	var e *tenant.Error
	if !errors.As(err, &e) || e.Msg == "" {
		return http.StatusInternalServerError, wire.Error{
			Code:    tenant.CodeInternal,
			Message: "the daemon could not do that; its log says why",
			Hint:    "see what `ten serve` prints, or its journal",
		}, 0
	}
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	var own *statusError
	if errors.As(err, &own) {
		status = own.status
	}
	return status, wire.Error{Code: e.Code, Message: e.Msg, Hint: e.Hint, Log: e.Log}, e.RetryAfter
}

// fail answers a request with an error and logs its cause.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, public, retry := describe(err)
	a.logFailure(r, status, err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tenement"`) // RFC 6750, section 3
	}
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(retry.Seconds())), 10))
	}
	a.reply(w, r, status, wire.Failure{Error: public})
}

// logFailure notes an error that is answered. What the daemon is at fault for is loud;
// the rest was foreseen, and where it matters its origin has logged it.
func (a *API) logFailure(r *http.Request, status int, err error) {
	level := slog.LevelDebug
	switch {
	case status == http.StatusInternalServerError:
		level = slog.LevelError
	case status == http.StatusForbidden && who(r).token == "": // who has a token can ask as often as he likes
		level = slog.LevelError
	}
	a.log.Log(r.Context(), level, "api request failed", "method", r.Method, "path", r.URL.Path, "status", status, "err", err)
}

// reply answers with JSON.
func (a *API) reply(w http.ResponseWriter, r *http.Request, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		a.log.Error("api answer not encoded", "method", r.Method, "path", r.URL.Path, "err", err)
		status, text = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer could not be encoded"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error of the write means that the client has gone, which is its right.
	_, _ = w.Write(append(text, '\n'))
}

// readBody reads the one JSON value that a request's body must be.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	// Where a deadline cannot be set the size is still bounded.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()

	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("more than one JSON value")
		}
	}
	var size *http.MaxBytesError
	if errors.As(err, &size) {
		return &statusError{http.StatusRequestEntityTooLarge, invalid(
			fmt.Sprintf("the request's body is larger than %d KiB", maxBody>>10), "send less", err)}
	}
	return invalid("the request's body is not what is expected here: "+quote(err.Error()),
		`send a JSON object such as {"id":"notes:alice"}`, err)
}
