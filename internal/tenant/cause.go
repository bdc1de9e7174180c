package tenant

import "context"

// Cause says in a few words why an instance is woken, such as "operator" or
// "schedule hourly". Nothing that a visitor sends is in it.
type Cause string

// Causes that are always the same.
const (
	CauseOperator   Cause = "operator"
	CauseConfigured Cause = "configured"
	CauseRestart    Cause = "restart"
	CauseRelease    Cause = "a new release"
	CauseImport     Cause = "import"
	CauseAdopted    Cause = "adopted"
	CauseTraffic    Cause = "traffic on a stream"
	CauseEnded      Cause = "restart, after it had failed or ended"
)

// CauseSchedule is the cause of a schedule entry.
func CauseSchedule(entry string) Cause { return Cause("schedule " + entry) }

// requestCauses are the causes of requests whose methods are worth telling.
var requestCauses = map[string]Cause{
	"GET": "GET request", "HEAD": "HEAD request", "POST": "POST request", "PUT": "PUT request",
	"PATCH": "PATCH request", "DELETE": "DELETE request", "OPTIONS": "OPTIONS request",
}

// CauseRequest is the cause of a request.
func CauseRequest(method string) Cause {
	if c, ok := requestCauses[method]; ok {
		return c
	}
	return "request"
}

type causeKey struct{}

// WithCause notes why whatever is done with ctx is done.
func WithCause(ctx context.Context, c Cause) context.Context {
	return context.WithValue(ctx, causeKey{}, c)
}

// CauseOf gives what WithCause has noted, or otherwise.
func CauseOf(ctx context.Context, otherwise Cause) Cause {
	if c, ok := ctx.Value(causeKey{}).(Cause); ok {
		return c
	}
	return otherwise
}
