package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// The environment of the process that is the plain reverse proxy: where it listens, and
// what is behind it.
const (
	plainAddress = "BENCH_PLAIN_ADDRESS"
	plainBackend = "BENCH_PLAIN_BACKEND"
)

// servePlain is what the standard library makes of a reverse proxy by itself, but for the
// number of connections that it keeps.
func servePlain(ctx context.Context, address, backend string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 512, 512
	to := &url.URL{Scheme: "http", Host: backend}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		server.Close()
		<-ended
		return nil
	}
}
