package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"tenement.dev/internal/tenant"
)

// Brake is what is remembered of an instance's failures, so that neither sleep nor a
// new daemon makes a crash loop begin anew. Times are as in Instance.
type Brake struct {
	// Restarts counts the times that it was started again because it had failed.
	Restarts int64
	// Failures are the latest ones, oldest first.
	Failures []time.Time
	// Failed: it is not started any more until somebody asks for it.
	Failed bool
	// Reason is why it failed last, in words for people.
	Reason string
}

// Brakes gives the brakes of all instances that ever failed.
func (r *Registry) Brakes(ctx context.Context) (map[tenant.ID]Brake, error) {
	brakes, err := r.brakes(ctx)
	return brakes, r.file.explain("list failures", tenant.ID{}, err)
}

func (r *Registry) brakes(ctx context.Context) (map[tenant.ID]Brake, error) {
	rows, err := r.db.QueryContext(ctx, sqlBrakes)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	brakes := map[tenant.ID]Brake{}
	for rows.Next() {
		var id tenant.ID
		var b Brake
		var failures string
		if err := rows.Scan(&id.Service, &id.Name, &b.Restarts, &failures, &b.Failed, &b.Reason); err != nil {
			return nil, err
		}
		var times []int64
		if err := json.Unmarshal([]byte(failures), &times); err != nil {
			return nil, r.file.damaged(fmt.Errorf("failures of %s: %w", id, err))
		}
		for _, us := range times {
			b.Failures = append(b.Failures, fromMicros(us))
		}
		brakes[id] = b
	}
	return brakes, rows.Err()
}

// SetBrake remembers an instance's failures; one that is not registered is passed over.
func (r *Registry) SetBrake(ctx context.Context, id tenant.ID, b Brake) error {
	times := make([]int64, len(b.Failures))
	for i, at := range b.Failures {
		times[i] = micros(at)
	}
	text, err := json.Marshal(times)
	if err == nil {
		_, err = r.db.ExecContext(ctx, sqlSetBrake, id.Service, id.Name, b.Restarts, string(text), b.Failed, b.Reason)
	}
	return r.file.explain("remember failures of", id, err)
}
