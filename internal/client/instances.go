package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Version asks which build the daemon is.
func (c *Client) Version(ctx context.Context) (wire.Version, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	var v wire.Version
	_, err := c.ask(ctx, http.MethodGet, "/version", nil, &v)
	return v, err
}

// Doctor asks what the machine can and cannot do.
func (c *Client) Doctor(ctx context.Context) ([]wire.Check, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var d wire.Doctor
	_, err := c.ask(ctx, http.MethodGet, "/doctor", nil, &d)
	return d.Checks, err
}

// List asks for the instances of a service, or all where it is empty, sorted by ID.
func (c *Client) List(ctx context.Context, service string) ([]wire.Instance, error) {
	list, _, err := c.pages(ctx, service, nil, true)
	return list, err
}

// ListSome is List for people: where all do not fit on a page it leaves out those that are
// asleep, and says how many.
func (c *Client) ListSome(ctx context.Context, service string) (list []wire.Instance, asleep int, err error) {
	list, first, err := c.pages(ctx, service, nil, false)
	if err != nil || first.Next == "" {
		return list, 0, err
	}
	up := []tenant.State{tenant.Waking, tenant.Awake, tenant.Dozing, tenant.Stopping, tenant.Failed}
	list, last, err := c.pages(ctx, service, up, true)
	return list, last.Counts[tenant.Asleep], err
}

// pages asks for the instances in some states, or in nil for all, and gives the last page
// that it has seen, which is the first where more are not wanted.
func (c *Client) pages(ctx context.Context, service string, states []tenant.State, more bool) (list []wire.Instance, page wire.Instances, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	query := url.Values{}
	if service != "" {
		query.Set("service", service)
	}
	if states != nil {
		names := make([]string, len(states))
		for i, s := range states {
			names[i] = s.String()
		}
		query.Set("state", strings.Join(names, ","))
	}
	list = []wire.Instance{}
	for {
		page = wire.Instances{}
		if _, err := c.ask(ctx, http.MethodGet, "/instances?"+query.Encode(), nil, &page); err != nil {
			return nil, page, err
		}
		list = append(list, page.Instances...)
		if page.Next == "" || !more {
			return list, page, nil
		}
		query.Set("cursor", page.Next)
	}
}

// Services asks for the services of the configuration, sorted by name.
func (c *Client) Services(ctx context.Context) ([]wire.Service, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	var list wire.Services
	_, err := c.ask(ctx, http.MethodGet, "/services", nil, &list)
	return list.Services, err
}

// Get asks for one instance.
func (c *Client) Get(ctx context.Context, id tenant.ID) (wire.Instance, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	var inst wire.Instance
	_, err := c.ask(ctx, http.MethodGet, instancePath(id), nil, &inst)
	return inst, err
}

// Why asks why an instance is in its state.
func (c *Client) Why(ctx context.Context, id tenant.ID) (wire.Why, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	var why wire.Why
	_, err := c.ask(ctx, http.MethodGet, instancePath(id)+"/why", nil, &why)
	return why, err
}

// Spawn creates an instance, unless it exists, and has it awake.
func (c *Client) Spawn(ctx context.Context, id tenant.ID) (out wire.Outcome, created bool, err error) {
	status, err := c.ask(ctx, http.MethodPost, "/instances", wire.SpawnRequest{ID: id.String()}, &out)
	return out, status == http.StatusCreated, err
}

// Wake has an instance awake, also one that has failed.
func (c *Client) Wake(ctx context.Context, id tenant.ID) (wire.Outcome, error) {
	return c.operate(ctx, id, "wake")
}

// Doze freezes an awake instance.
func (c *Client) Doze(ctx context.Context, id tenant.ID) (wire.Outcome, error) {
	return c.operate(ctx, id, "doze")
}

// Stop puts an instance to sleep.
func (c *Client) Stop(ctx context.Context, id tenant.ID) (wire.Outcome, error) {
	return c.operate(ctx, id, "stop")
}

// Restart stops an instance and starts it.
func (c *Client) Restart(ctx context.Context, id tenant.ID) (wire.Outcome, error) {
	return c.operate(ctx, id, "restart")
}

// KeepAwake has an instance awake and keeps it so for d; with 0 all leases on it end
// and nothing is woken.
func (c *Client) KeepAwake(ctx context.Context, id tenant.ID, d time.Duration) (out wire.Outcome, err error) {
	_, err = c.ask(ctx, http.MethodPost, instancePath(id)+"/keep-awake", wire.KeepAwakeRequest{ForMS: d.Milliseconds()}, &out)
	return out, err
}

// Destroy stops an instance, removes its data and forgets it.
func (c *Client) Destroy(ctx context.Context, id tenant.ID) error {
	_, err := c.ask(ctx, http.MethodDelete, instancePath(id), nil, nil)
	return err
}

func (c *Client) operate(ctx context.Context, id tenant.ID, verb string) (out wire.Outcome, err error) {
	_, err = c.ask(ctx, http.MethodPost, instancePath(id)+"/"+verb, nil, &out)
	return out, err
}

func instancePath(id tenant.ID) string { return "/instances/" + url.PathEscape(id.String()) }
