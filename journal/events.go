package journal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Identifier is the SYSLOG_IDENTIFIER= of Tenement's own entries: journalctl -t tenement.
const Identifier = "tenement"

// lastWords is how long an ending Events may take for what was told until then.
const lastWords = 2 * time.Second

// Events puts events into the journal, an entry each, and says them in the log where
// they are not there.
type Events struct {
	to  sender
	log *slog.Logger
	// quiet says that the log is in the journal too.
	quiet bool
}

// NewEvents makes an Events. quiet says that log ends in the journal as well, so that
// what the journal has need not be logged.
func NewEvents(log *slog.Logger, quiet bool) *Events {
	return &Events{to: sender{path: nativeSocket}, log: log, quiet: quiet}
}

// Run puts the events of bus into the journal, from the first on, until ctx ends; then
// it goes on for a moment, with those that were told until then. It gives nil.
func (w *Events) Run(ctx context.Context, bus *event.Bus) error {
	defer w.to.close()
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var mu sync.Mutex // guards what follows
	var put, end uint64 = 0, math.MaxUint64
	reached := func(n uint64) bool {
		mu.Lock()
		defer mu.Unlock()
		put = max(put, n)
		return put >= end
	}
	defer context.AfterFunc(ctx, func() {
		mu.Lock()
		end = bus.Last().N
		mu.Unlock()
		if reached(0) {
			stop()
		}
		time.AfterFunc(lastWords, stop)
	})()
	complained := false
	for e, err := range bus.Follow(own, bus.Start()) {
		var gap *event.Gap
		if errors.As(err, &gap) {
			w.log.Warn("events are not in the journal: too many at once", "missed", gap.Missed)
			continue
		}
		err = w.put(e)
		if err != nil && !complained {
			w.log.Warn("events are not in the journal, but here", "err", err)
		}
		complained = err != nil
		if reached(e.ID.N) {
			break
		}
	}
	return nil
}

// put puts an event into the journal. The error says why it is not there; then it is
// logged.
func (w *Events) put(e event.Event) error {
	if e.Kind == event.State && e.Field("to").String() != tenant.Failed.String() {
		return nil // what has led to it comes beside it
	}
	err := w.to.send(fieldsOf(e))
	if err != nil || !w.quiet {
		w.say(e)
	}
	return err
}

// logged are the kinds of event whose origin says them in the log itself, with what only
// the log has.
var logged = map[event.Kind]bool{
	event.State: true, event.WakeFailed: true, event.Ended: true, event.Health: true, event.StorageFull: true,
	event.ReloadFailed: true, event.DeployFailed: true, event.Audit: true,
	event.Started: true, event.Stopping: true, event.TokenCreated: true, event.TokenRevoked: true, event.Rollout: true,
}

// say logs an event, unless that is done.
func (w *Events) say(e event.Event) {
	if logged[e.Kind] {
		return
	}
	var attrs []slog.Attr
	if !e.Instance.IsZero() {
		attrs = append(attrs, slog.Any("instance", e.Instance))
	}
	if e.Actor != "" {
		attrs = append(attrs, slog.String("actor", string(e.Actor)))
	}
	w.log.LogAttrs(context.Background(), slog.LevelInfo, strings.ReplaceAll(string(e.Kind), "_", " "), append(attrs, e.Fields...)...)
}

// The fields of an entry that Query.Events matches and reads.
const (
	fieldService  = "TENEMENT_SERVICE"
	fieldInstance = "TENEMENT_INSTANCE"
	fieldTenant   = "TENEMENT_TENANT"
	fieldEvent    = "TENEMENT_EVENT_JSON"
)

// fieldsOf makes an entry of an event. Beside the fields for people it has the whole
// event as JSON.
func fieldsOf(e event.Event) []field {
	text, priority := describe(e)
	fields := []field{
		{"MESSAGE", text},
		{"MESSAGE_ID", cmp.Or(messageIDs[e.Kind], otherID)},
		{"PRIORITY", strconv.Itoa(priority)},
		{"SYSLOG_IDENTIFIER", Identifier},
		{"TENEMENT_EVENT", string(e.Kind)},
	}
	if !e.Instance.IsZero() {
		fields = append(fields, field{fieldService, e.Instance.Service}, field{fieldInstance, e.Instance.String()},
			field{fieldTenant, e.Instance.Name})
	}
	if e.Actor != "" {
		fields = append(fields, field{"TENEMENT_ACTOR", string(e.Actor)})
	}
	for _, f := range e.Fields {
		fields = append(fields, plainField(f))
	}
	if whole, err := json.Marshal(e); err == nil && len(whole) <= maxField {
		fields = append(fields, field{fieldEvent, string(whole)})
	}
	return fields
}

// plainField is a field of an event; durations are milliseconds.
func plainField(f slog.Attr) field {
	name := "TENEMENT_" + strings.ToUpper(f.Key)
	if v := f.Value.Resolve(); v.Kind() == slog.KindDuration {
		return field{name + "_MS", strconv.FormatFloat(float64(v.Duration().Microseconds())/1e3, 'f', -1, 64)}
	}
	return field{name, f.Value.String()}
}
