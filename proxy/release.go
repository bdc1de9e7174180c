package proxy

import (
	"errors"
	"io"
	"net/http"
)

// A request is counted out when its app has sent all of the answer, before the client is
// sent the last of it: who has got that can count on it, and may have the instance doze. An
// answer that the client takes slowly holds its instance up to there, and no longer.

// countOut counts the request out, once.
func (v *visit) countOut() {
	if v.release != nil {
		v.release()
		v.release = nil
	}
}

// appBody is the body of an app's answer; at its end the request is counted out.
type appBody struct {
	io.ReadCloser
	visit *visit
}

// watchBody counts the request out at the end of the answer's body.
func (v *visit) watchBody(resp *http.Response) {
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols: // the request ends with the connection
	case resp.Body == http.NoBody:
		v.countOut()
	default:
		v.body = appBody{resp.Body, v}
		resp.Body = &v.body
	}
}

// Read implements io.Reader. The connection is where the next request finds it by then.
func (b *appBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.visit.countOut()
	}
	return n, err
}
