package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"tenement.dev/internal/tenant"
)

// Release is what is remembered of an instance's release.
type Release struct {
	ID tenant.ID
	// Release is its own, Before the one that it had before the latest rollout has
	// changed it.
	Release, Before string
	Step            tenant.Step
}

// Rollout is what is remembered of the latest rollout of a service.
type Rollout struct {
	Service string
	// Release is the one that instances get, Previous the service's before.
	Release, Previous string
	Plan              tenant.RolloutPlan
	State             tenant.RolloutState
	// Reason says why it ended, or stands still, where there is more to say.
	Reason string
	// Begun is when it was asked for; Ended is zero while it goes on.
	Begun, Ended time.Time
}

// Releases lists the instances that have a release of their own, in no particular order.
func (r *Registry) Releases(ctx context.Context) ([]Release, error) {
	list, err := r.releases(ctx)
	return list, r.file.explain("list releases", tenant.ID{}, err)
}

func (r *Registry) releases(ctx context.Context) ([]Release, error) {
	rows, err := r.db.QueryContext(ctx, sqlReleases)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Release
	for rows.Next() {
		var l Release
		if err := rows.Scan(&l.ID.Service, &l.ID.Name, &l.Release, &l.Before, &l.Step); err != nil {
			return nil, err
		}
		for _, name := range []string{l.Release, l.Before} {
			if err := tenant.CheckRelease(name); err != nil {
				return nil, r.file.damaged(fmt.Errorf("release of %s: %w", l.ID, err))
			}
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// SetReleases remembers the releases of all instances in list, or of none on an error;
// one that is not registered is passed over.
func (r *Registry) SetReleases(ctx context.Context, list []Release) error {
	for _, l := range list {
		for _, name := range []string{l.Release, l.Before} {
			if err := tenant.CheckRelease(name); err != nil {
				return err
			}
		}
	}
	return r.transact(ctx, "set releases", tenant.ID{}, func(tx *sql.Tx) error {
		for _, l := range list {
			if _, err := tx.ExecContext(ctx, sqlSetRelease, l.ID.Service, l.ID.Name, l.Release, l.Before, l.Step); err != nil {
				return err
			}
		}
		return nil
	})
}

// ServiceReleases gives the releases of services' new instances, where a rollout has set
// one.
func (r *Registry) ServiceReleases(ctx context.Context) (map[string]string, error) {
	releases, err := r.serviceReleases(ctx)
	return releases, r.file.explain("list releases", tenant.ID{}, err)
}

func (r *Registry) serviceReleases(ctx context.Context) (map[string]string, error) {
	rows, err := r.db.QueryContext(ctx, sqlServiceReleases)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	releases := map[string]string{}
	for rows.Next() {
		var service, release string
		if err := rows.Scan(&service, &release); err != nil {
			return nil, err
		}
		if err := tenant.CheckRelease(release); err != nil {
			return nil, r.file.damaged(fmt.Errorf("release of %s: %w", service, err))
		}
		releases[service] = release
	}
	return releases, rows.Err()
}

// SetServiceRelease remembers the release of a service's new instances.
func (r *Registry) SetServiceRelease(ctx context.Context, service, release string) error {
	if err := tenant.CheckRelease(release); err != nil {
		return err
	}
	_, err := r.db.ExecContext(ctx, sqlSetServiceRelease, service, release)
	return r.file.explain("set release of "+service, tenant.ID{}, err)
}

// Rollouts lists the latest rollout of each service, sorted.
func (r *Registry) Rollouts(ctx context.Context) ([]Rollout, error) {
	list, err := r.rollouts(ctx)
	return list, r.file.explain("list rollouts", tenant.ID{}, err)
}

func (r *Registry) rollouts(ctx context.Context) ([]Rollout, error) {
	rows, err := r.db.QueryContext(ctx, sqlRollouts)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Rollout
	for rows.Next() {
		var l Rollout
		var plan string
		var begun, ended int64
		if err := rows.Scan(&l.Service, &l.Release, &l.Previous, &plan, &l.State, &l.Reason, &begun, &ended); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(plan), &l.Plan); err != nil {
			return nil, r.file.damaged(fmt.Errorf("rollout of %s: %w", l.Service, err))
		}
		l.Begun, l.Ended = fromMicros(begun), fromMicros(ended)
		list = append(list, l)
	}
	return list, rows.Err()
}

// SaveRollout remembers a rollout in place of the service's last one.
func (r *Registry) SaveRollout(ctx context.Context, l Rollout) error {
	plan, err := json.Marshal(l.Plan)
	if err == nil {
		_, err = r.db.ExecContext(ctx, sqlSaveRollout, l.Service, l.Release, l.Previous, string(plan),
			string(l.State), l.Reason, micros(l.Begun), micros(l.Ended))
	}
	return r.file.explain("save rollout of "+l.Service, tenant.ID{}, err)
}
