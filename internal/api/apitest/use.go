package apitest

import (
	"context"
	"slices"
	"time"

	"tenement.dev/internal/tenant"
)

// uses are what two customers have used; those of the third are of another service.
var uses = []tenant.DailyUse{
	{
		ID: tenant.ID{Service: "notes", Name: "alice"}, Day: "2026-10-01", Traffic: tenant.Traffic{Requests: 12, Received: 100, Sent: 5 << 20},
		Awake: time.Hour, Dozing: 90 * time.Minute, CPU: 1500 * time.Millisecond, Memory: 3600 << 29, Storage: 1 << 20,
	},
	{ID: tenant.ID{Service: "notes", Name: "bob"}, Day: "2026-10-01", Traffic: tenant.Traffic{Requests: 1}, Awake: 20 * time.Second},
	{ID: tenant.ID{Service: "web", Name: "alice"}, Day: "2026-10-02", CPU: 20 * time.Millisecond},
	{
		ID: tenant.ID{Service: "notes", Name: "alice"}, Day: "2026-10-31", Traffic: tenant.Traffic{Requests: 3, Received: 20},
		Awake: time.Hour, CPU: time.Minute, Memory: 3600 << 30, Storage: 1 << 19,
	},
	{ID: tenant.ID{Service: "notes", Name: "alice"}, Day: "2026-11-01", Traffic: tenant.Traffic{Requests: 1000}},
}

// Use implements api.Uses.
func (m *Instances) Use(_ context.Context, q tenant.UseQuery) ([]tenant.DailyUse, error) {
	return slices.DeleteFunc(slices.Clone(uses), func(u tenant.DailyUse) bool {
		return u.Day < q.From || u.Day > q.Until || q.Service != "" && u.ID.Service != q.Service || q.Name != "" && u.ID.Name != q.Name
	}), nil
}
