package proxy

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"net/textproto"
)

// maxInformational is how many informational responses an app may send before its answer
// (RFC 9110, section 15.2).
const maxInformational = 16

// boundInformational ends a request whose app sends more of them. The transport leaves
// that to those who pass them on, as httputil.ReverseProxy does without a bound.
func boundInformational(ctx context.Context) context.Context {
	n := 0
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			if n++; n > maxInformational {
				return fmt.Errorf("more than %d informational responses", maxInformational)
			}
			return nil
		},
	})
}
