package main

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/api"
	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/wire"
	"tenement.dev/journal"
	"tenement.dev/units"
)

// journalLogs is the journal as the API wants it.
type journalLogs struct{ reader *journal.Reader }

// Read implements api.Logs.
func (l journalLogs) Read(ctx context.Context, q api.LogQuery) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		query := journal.Query{
			Unit: q.Unit, Lines: q.Lines, Since: q.Since, Until: q.Until, Level: q.Level, Search: q.Search, Grep: q.Grep,
			AfterCursor: q.After, BeforeCursor: q.Before, Follow: q.Follow,
		}
		if q.Events {
			query.Events, query.Slice, query.Service = true, units.Slice, q.Service
			query.Tenant, query.Viewer = q.Tenant, q.Viewer
			if !q.Instance.IsZero() {
				query.Instance = q.Instance.String()
			}
		} else if q.Unit == "" {
			query.Prefix, query.Slice, query.Units = units.Prefix, units.Slice, q.Units
			if q.Service != "" {
				query.Prefix = units.ServicePrefix(q.Service)
			}
		} else if id, ok := units.ParseName(q.Unit); ok {
			query.Identifier = id.String()
		}
		for e, err := range l.reader.Read(ctx, query) {
			entry := wireEntry(e)
			if q.Unit == "" && !q.Events && err == nil {
				id, ok := units.ParseName(e.Unit)
				if !ok {
					continue // a unit of the daemon's own, such as a probe
				}
				entry.ID = id
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

func wireEntry(e journal.Entry) wire.LogEntry {
	return wire.LogEntry{
		Time: e.Time, Message: e.Message, Priority: e.Priority, PID: e.PID,
		Identifier: e.Identifier, Manager: e.Manager, Cursor: e.Cursor,
		Event: json.RawMessage(e.Event),
	}
}

// journalCheck tells whether the instances' logs can be read.
func journalCheck(scope journal.Scope) keeper.Check {
	c := keeper.Check{Name: "logs", OK: true, Detail: "systemd's journal is readable"}
	if err := journal.New(scope).Check(); err != nil {
		c.OK, c.Detail, c.Hint = false, sentence(err), hintOf(err)
	}
	return c
}

// treeOf gives what tells of what instances use; nil where the machine does not.
func treeOf(ctx context.Context, systemd *dbusctl.Client, log *slog.Logger) (*cgroup.Tree, error) {
	group, err := systemd.ControlGroup(ctx)
	if err != nil {
		return nil, err
	}
	tree, err := cgroup.Find(group)
	if err != nil {
		log.Warn("what instances use is not known here: work without requests does not keep them awake", "err", err)
		return nil, nil
	}
	return &tree, nil
}

// crowd is the manager as the metrics want it.
type crowd struct{ *lifecycle.Manager }

// Crowd implements metrics.Source.
func (c crowd) Crowd() (waiting, queued, starting int) {
	n := c.Manager.Crowd()
	return n.Waiting, n.Queued, n.Starting
}

// wireChecks are the keeper's checks as the API has them.
func wireChecks(list []keeper.Check) []wire.Check {
	out := make([]wire.Check, len(list))
	for i, c := range list {
		out[i] = wire.Check(c)
	}
	return out
}
