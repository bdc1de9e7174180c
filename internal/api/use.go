package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Uses tells what instances have used; *lifecycle.Manager has it. Errors for people are
// *tenant.Error.
type Uses interface {
	Use(ctx context.Context, q tenant.UseQuery) ([]tenant.DailyUse, error)
}

// monthFormat is how a month is written.
const monthFormat = "2006-01"

// getUse tells what was used in a month; a tenant is told of its own instances.
func (a *API) getUse(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	month := time.Now().UTC()
	if q.Has("month") {
		var err error
		if month, err = time.Parse(monthFormat, q.Get("month")); err != nil {
			return invalid("month="+quote(q.Get("month"))+" is not a month", "write it as 2026-11", err)
		}
	}
	first := time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, time.UTC)
	query := tenant.UseQuery{From: first.Format(tenant.DayFormat), Until: first.AddDate(0, 1, -1).Format(tenant.DayFormat), Service: q.Get("service")}
	if q.Has("service") {
		if err := tenant.CheckLabel("service", query.Service); err != nil {
			return err
		}
	}
	if q.Has("instance") {
		id, err := tenant.ParseID(q.Get("instance"))
		if err != nil {
			return err
		}
		if query.Service != "" && query.Service != id.Service {
			return invalid("the instance is of another service", "give one of both", nil)
		}
		query.Service, query.Name = id.Service, id.Name
	}
	p := who(r)
	if !p.admin {
		if query.Name != "" && query.Name != p.tenant {
			return forbidden(q.Get("instance")+" is not an instance of "+p.tenant, "this token is for the instances called "+p.tenant)
		}
		query.Name = p.tenant
	}
	list, err := a.uses.Use(r.Context(), query)
	if err != nil {
		return err
	}
	if len(list) == 0 && p.admin { // tenants are not told which there are
		if err := a.checkUsed(query); err != nil {
			return err
		}
	}
	use := wire.Use{Days: make([]wire.DailyUse, len(list))}
	for i, u := range list {
		use.Days[i] = wire.DailyUse{
			Day: u.Day, ID: u.ID, Requests: u.Requests, ReceivedBytes: u.Received, SentBytes: u.Sent,
			AwakeSeconds: u.Awake.Seconds(), DozingSeconds: u.Dozing.Seconds(), CPUSeconds: u.CPU.Seconds(),
		}
		// What runs has memory, and a directory some blocks: 0 is what nobody has looked at.
		if u.Memory > 0 || u.Awake+u.Dozing == 0 {
			hours := u.Memory / (1 << 30) / 3600
			use.Days[i].MemoryGiBHours = &hours
		}
		if u.Storage > 0 {
			use.Days[i].StorageBytes = &u.Storage
		}
	}
	a.reply(w, r, http.StatusOK, use)
	return nil
}

// checkUsed reports whether there is what was asked for, of which no use is known.
func (a *API) checkUsed(q tenant.UseQuery) error {
	if q.Service == "" {
		return nil
	}
	if err := a.instances.CheckService(q.Service); err != nil || q.Name == "" {
		return err
	}
	id := tenant.ID{Service: q.Service, Name: q.Name}
	if _, err := a.instances.Get(id); tenant.CodeOf(err) == tenant.CodeNotFound {
		return &tenant.Error{
			Code: tenant.CodeNotFound, Op: "tell use of", ID: id,
			Msg: fmt.Sprintf("there is no instance %s, and there was none that month", id), Hint: "`ten ps` lists the instances; --month says another month",
		}
	}
	return nil
}
