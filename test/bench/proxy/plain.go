package main

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
)

// The environment of the process that is the plain reverse proxy: where it listens, what is
// behind it, what is behind it at echoPaths, and a file with other addresses by the name that is
// asked for, or nothing.
const (
	plainAddress = "BENCH_PLAIN_ADDRESS"
	plainBackend = "BENCH_PLAIN_BACKEND"
	plainEcho    = "BENCH_PLAIN_ECHO"
	plainNames   = "BENCH_PLAIN_NAMES"
)

// servePlain is what the standard library makes of a reverse proxy by itself, but for the
// number of connections that it keeps.
func servePlain(ctx context.Context) error {
	names, err := readNames(os.Getenv(plainNames))
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 512
	to := &url.URL{Scheme: "http", Host: os.Getenv(plainBackend)}
	echo := &url.URL{Scheme: "http", Host: os.Getenv(plainEcho)}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			if address, ok := names[r.In.Host]; ok {
				r.SetURL(address)
			} else if slices.Contains(echoPaths, r.In.URL.Path) {
				r.SetURL(echo)
			} else {
				r.SetURL(to)
			}
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}}
	l, err := net.Listen("tcp", os.Getenv(plainAddress))
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

// readNames reads lines of a name and an address.
func readNames(path string) (map[string]*url.URL, error) {
	names := map[string]*url.URL{}
	if path == "" {
		return names, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, address, _ := strings.Cut(lines.Text(), " ")
		names[name] = &url.URL{Scheme: "http", Host: address}
	}
	return names, lines.Err()
}
