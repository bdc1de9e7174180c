package event

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// Kind says what has happened; each names the fields that its events have beside their
// instance. Durations are slog's: package wire has them in milliseconds.
type Kind string

// The kinds of event.
const (
	// State is a change of state: from, to, and reason where there is one. The events
	// below come beside it, with what else is known.
	State Kind = "state"

	Created   Kind = "created"   // cause: as of a wake
	Destroyed Kind = "destroyed" // its data is gone
	Adopted   Kind = "adopted"   // state; it has outlived the daemon before this one

	// Woke is a wake that went well: kind, cause, and the phases queue, load, unit_start,
	// app_ready, health, total; tenant.Wake explains them.
	Woke Kind = "woke"
	// WakeFailed is one that did not: kind, dur, code, reason.
	WakeFailed Kind = "wake_failed"
	// WakeWithdrawn is one that never began: queue, reason.
	WakeWithdrawn Kind = "wake_withdrawn"

	Dozed      Kind = "dozed"      // dur
	Stopped    Kind = "stopped"    // reason, dur
	Ended      Kind = "ended"      // reason, restart: the app has ended by itself
	Restarting Kind = "restarting" // restarts, wait: it is started again after a failure

	// Health is a change of an awake instance's health: health, failures, reason.
	Health Kind = "health"

	Limits        Kind = "limits"        // the instance's own limits, by name
	Weight        Kind = "weight"        // weight; -1 where it was taken away
	Routed        Kind = "routed"        // from, weight: requests were moved to the instance
	Deployed      Kind = "deployed"      // weight
	DeployFailed  Kind = "deploy_failed" // reason
	DomainAdded   Kind = "domain_added"  // host
	DomainRemoved Kind = "domain_removed"
	KeptAwake     Kind = "kept_awake" // for; 0 where all leases were ended
	// BackedUp is a copy of an instance's data: bytes, files, and frozen, for how long its
	// app was; that the client has got it is not said.
	BackedUp Kind = "backed_up"
	// Restored is data that has taken the place of the instance's: from, taken_at, bytes,
	// files, and kept where the data before is.
	Restored Kind = "restored"
	// Paused is the beginning of a pause, or a change of it: message, and for where it ends
	// by itself, of which there is no event. Both have service, and no instance, where all
	// of a service is meant.
	Paused   Kind = "paused"
	Unpaused Kind = "unpaused"
	// SecretSet and SecretRemoved: secret, its name, and service where it is that of a whole one.
	SecretSet     Kind = "secret_set" // env
	SecretRemoved Kind = "secret_removed"
	Scheduled     Kind = "scheduled" // entry, and reason where the run has failed
	StorageFull   Kind = "storage_nearly_full"
	MemoryShort   Kind = "memory_short" // becomes, reason: memory is taken back

	Rollout Kind = "rollout" // service, release, text: a step of a rollout, in words

	TokenCreated Kind = "token_created" // token, scope
	TokenRevoked Kind = "token_revoked" // token

	Started      Kind = "daemon_started" // version
	Stopping     Kind = "daemon_stopping"
	Reloaded     Kind = "reloaded"      // config
	ReloadFailed Kind = "reload_failed" // reason

	// Audit is a request that was to change something: action, status, and code where it
	// was refused or has failed. Its Actor is who made it.
	Audit Kind = "audit"
)

// Event is one thing that has happened.
type Event struct {
	ID   ID
	Time time.Time
	Kind Kind
	// Instance is whom it happened to, zero for what is of no single instance.
	Instance tenant.ID
	// Actor is who asked for it, empty for Tenement itself.
	Actor tenant.Actor
	// Fields are what else there is to say, as Kind has it.
	Fields []slog.Attr
}

// Field gives the value of a field, the zero Value where there is none of that name.
func (e Event) Field(name string) slog.Value {
	for _, f := range e.Fields {
		if f.Key == name {
			return f.Value
		}
	}
	return slog.Value{}
}

// ID is an event's place: a number within the life of one Bus. The zero ID is none.
type ID struct {
	Run uint64 // the life
	N   uint64 // 1 is the first one's
}

// String prints "RUN-N".
func (i ID) String() string {
	return strconv.FormatUint(i.Run, 36) + "-" + strconv.FormatUint(i.N, 10)
}

// ParseID parses what String prints.
func ParseID(s string) (ID, error) {
	run, n, ok := strings.Cut(s, "-")
	if ok && len(s) <= 40 {
		r, rerr := strconv.ParseUint(run, 36, 64)
		number, nerr := strconv.ParseUint(n, 10, 64)
		if rerr == nil && nerr == nil {
			return ID{r, number}, nil
		}
	}
	return ID{}, &tenant.Error{
		Code: tenant.CodeInvalid, Op: "parse event id",
		Msg:  fmt.Sprintf("%.50q is not the id of an event", s),
		Hint: "use the id of an event that you were given, or none",
	}
}

// MarshalText prints i as String does.
func (i ID) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText parses what MarshalText prints.
func (i *ID) UnmarshalText(text []byte) (err error) {
	*i, err = ParseID(string(text))
	return err
}

// MarshalJSON writes the event as the API and whoever logs it have it: durations are
// milliseconds, under their names with "_ms".
func (e Event) MarshalJSON() ([]byte, error) {
	fields := make(map[string]any, len(e.Fields))
	for _, f := range e.Fields {
		name, value := plain(f)
		fields[name] = value
	}
	out := struct {
		ID       ID             `json:"id"`
		Time     time.Time      `json:"time"`
		Kind     Kind           `json:"kind"`
		Instance string         `json:"instance,omitempty"`
		Actor    tenant.Actor   `json:"actor,omitempty"`
		Fields   map[string]any `json:"fields,omitempty"`
	}{ID: e.ID, Time: e.Time.UTC(), Kind: e.Kind, Actor: e.Actor, Fields: fields}
	if !e.Instance.IsZero() {
		out.Instance = e.Instance.String()
	}
	return json.Marshal(out)
}

// plain is a field as JSON has it.
func plain(f slog.Attr) (string, any) {
	v := f.Value.Resolve()
	if v.Kind() == slog.KindDuration {
		return f.Key + "_ms", float64(v.Duration().Microseconds()) / 1e3
	}
	return f.Key, v.Any()
}
