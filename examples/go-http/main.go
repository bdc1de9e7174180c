// Command web is an HTTP server for one customer, on the standard library alone. It reads PORT and DATA_DIR, ends gracefully when
// it gets SIGTERM, and has an endpoint for each thing that one may want to see through Tenement: see routes.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// patience is how long requests that are under way may take after SIGTERM. It is less than the 10 s after which Tenement
// sends SIGKILL (stop_grace).
const patience = 8 * time.Second

func main() {
	log.SetFlags(0) // the journal knows the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := serve(ctx, os.Getenv("PORT"), cmp.Or(os.Getenv("DATA_DIR"), ".")); err != nil {
		log.Fatal(err)
	}
}

// serve answers requests on 127.0.0.1:port until ctx ends, then finishes those that are under way.
func serve(ctx context.Context, port, dataDir string) error {
	if port == "" {
		return errors.New("serve: PORT is not set")
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return fmt.Errorf("make DATA_DIR: %w", err)
	}
	server := &http.Server{
		Addr:              "127.0.0.1:" + port,
		Handler:           routes(ctx, dataDir),
		ReadHeaderTimeout: 10 * time.Second,
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- server.Shutdown(bound)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	return nil
}
