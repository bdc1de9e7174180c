package keeper

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// firstNudge is how long a stop goes on before ten-init is told of it again; each pause
// after that is twice as long.
const firstNudge = 100 * time.Millisecond

// stop stops a service and returns when it has stopped. The kernel drops the SIGTERM for
// the first process of a PID namespace that has no handler yet (pid_namespaces(7)), as
// while systemd still sets up what it is to execute, and then a stop takes until systemd
// sends SIGKILL. So ten-init is told again, by SIGINT, which is nothing new to one that
// has heard already; the app is not.
func (l *Local) stop(ctx context.Context, service string) error {
	stopped := make(chan struct{})
	var nudging sync.WaitGroup
	nudging.Go(func() { l.nudge(ctx, service, stopped) })
	err := l.systemd.Stop(ctx, service)
	close(stopped)
	nudging.Wait()
	if err != nil {
		return fmt.Errorf("stop %s: %w", service, err)
	}
	return nil
}

func (l *Local) nudge(ctx context.Context, service string, stopped <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for pause := firstNudge; ; pause *= 2 {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-stopped:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
		_ = l.systemd.Kill(ctx, service, int32(syscall.SIGINT)) // it may have stopped meanwhile
	}
}
