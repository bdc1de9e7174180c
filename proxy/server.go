package proxy

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// readHeaderTimeout bounds how long a client may take to send a request's head.
	readHeaderTimeout = 15 * time.Second
	// idleTimeout is how long a client's unused connection is kept.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes bounds a request's head; longer ones are answered with 431.
	maxHeaderBytes = 64 << 10
)

// NewServer makes the server for clients. Bodies may take as long as they like in
// both directions.
func NewServer(p *Proxy, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           p,
		ConnContext:       ConnContext,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
