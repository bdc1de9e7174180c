package lifecycletest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSystemd(t *testing.T) {
	lifecycletest.Conform(t, func(t *testing.T) lifecycletest.Bench {
		s := lifecycletest.New()
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		t.Cleanup(func() {
			cancel()
			wg.Wait()
		})
		spec := func(app lifecycletest.App) func(tenant.ID) tenant.Spec {
			return func(id tenant.ID) tenant.Spec {
				s.SetApp(id, app)
				return tenant.Spec{ID: id, StartupTimeout: 100 * time.Millisecond}
			}
		}
		return lifecycletest.Bench{
			Controller: s,
			Doorbell:   s.Doorbell,
			Spec:       spec(lifecycletest.App{Ready: 5 * time.Millisecond, Stop: 5 * time.Millisecond}),
			Exits:      spec(lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 3"}}),
			Hangs:      spec(lifecycletest.App{NeverReady: true}),
			Crash:      s.Crash,
			Limits:     s.Limits,
			Data:       func(id tenant.ID, bytes int64) { s.SetStorage(id, bytes, false) },
			Quick:      5 * time.Second,
		}
	})
}
