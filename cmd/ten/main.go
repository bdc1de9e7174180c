package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the program where the first has not.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], outside())
	stop()
	os.Exit(code)
}
