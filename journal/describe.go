package journal

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Priorities of events, as in syslog(3).
const (
	priorityError   = 3
	priorityWarning = 4
	priorityNotice  = 5
	priorityInfo    = 6
)

// describe puts an event in words, on one line, and says how urgent it is.
func describe(e event.Event) (text string, priority int) {
	text, priority = what(e)
	if !e.Instance.IsZero() && e.Kind != event.Audit {
		text = e.Instance.String() + " " + text
	}
	if e.Actor != "" && e.Kind != event.Audit {
		text += ", by " + string(e.Actor)
	}
	return oneLine(text), priority
}

// what is what has happened, without to whom and by whom.
func what(e event.Event) (string, int) {
	get := func(name string) string { return e.Field(name).String() }
	because := func(text string) string {
		if reason := e.Field("reason"); reason.Kind() == slog.KindString && reason.String() != "" {
			return text + ": " + reason.String()
		}
		return text
	}
	switch e.Kind {
	case event.State:
		return because("has " + get("to")), priorityError
	case event.Created:
		return "was created: " + get("cause"), priorityInfo
	case event.Destroyed:
		return "was destroyed, its data is gone", priorityNotice
	case event.Adopted:
		return "was taken over, " + get("state"), priorityInfo
	case event.Woke:
		var phases []string
		for _, phase := range []string{"queue", "load", "unit_start", "app_ready", "health"} {
			if d := e.Field(phase); d.Kind() == slog.KindDuration && d.Duration() > 0 {
				phases = append(phases, strings.ReplaceAll(phase, "_", " ")+" "+millis(d))
			}
		}
		from := map[string]string{string(tenant.WakeCold): "sleep", string(tenant.WakeArmed): "sleep", string(tenant.WakeDoze): "doze"}[get("kind")]
		text := fmt.Sprintf("woke from %s in %s, by %s", from, millis(e.Field("total")), get("cause"))
		if len(phases) > 0 {
			text += " (" + strings.Join(phases, ", ") + ")"
		}
		return text, priorityInfo
	case event.WakeFailed:
		return because("did not start, after " + millis(e.Field("dur"))), priorityWarning
	case event.WakeWithdrawn:
		return because("was not woken"), priorityInfo
	case event.Dozed:
		return "dozes", priorityInfo
	case event.Stopped:
		return because("was stopped in " + millis(e.Field("dur"))), priorityInfo
	case event.Ended:
		return because("ended by itself"), priorityWarning
	case event.Restarting:
		return fmt.Sprintf("is started again in %s, restart %s", millis(e.Field("wait")), get("restarts")), priorityNotice
	case event.Health:
		if e.Field("reason").Kind() == slog.KindString {
			return because("is " + get("health")), priorityWarning
		}
		return "is " + get("health"), priorityNotice
	case event.Limits:
		return "has limits: " + listed(e.Fields), priorityNotice
	case event.Weight:
		return "has weight " + get("weight"), priorityNotice
	case event.Routed:
		return "gets the requests of " + get("from") + ", with weight " + get("weight"), priorityNotice
	case event.Deployed:
		return "was deployed, with weight " + get("weight"), priorityNotice
	case event.DeployFailed:
		return because("was not deployed"), priorityWarning
	case event.DomainAdded:
		return "has the host name " + get("host"), priorityNotice
	case event.DomainRemoved:
		return "has no host name " + get("host") + " any more", priorityNotice
	case event.KeptAwake:
		if e.Field("for").Kind() == slog.KindDuration && e.Field("for").Duration() == 0 {
			return "is not kept awake any more", priorityInfo
		}
		return "is kept awake for " + get("for"), priorityInfo
	case event.BackedUp:
		return "was backed up: " + several(e.Field("files"), "file", "files") + " with " + several(e.Field("bytes"), "byte", "bytes"), priorityInfo
	case event.Restored:
		text := fmt.Sprintf("has the data of a backup of %s of %s", get("from"), moment(e.Field("taken_at")))
		if kept := get("kept"); kept != "" {
			text += "; what it had is in " + kept
		}
		return text, priorityNotice
	case event.Paused:
		text := serviceSubject(e) + "is paused"
		if d := e.Field("for"); d.Kind() == slog.KindDuration {
			text += " for " + d.String()
		}
		if message := e.Field("message"); message.Kind() == slog.KindString && message.String() != "" {
			text += ": " + message.String()
		}
		return text, priorityNotice
	case event.Unpaused:
		return serviceSubject(e) + "is not paused any more", priorityNotice
	case event.SecretSet:
		return serviceSubject(e) + "has a new value for its secret " + get("secret"), priorityNotice
	case event.SecretRemoved:
		return serviceSubject(e) + "has lost its secret " + get("secret"), priorityNotice
	case event.Scheduled:
		return because("ran by its schedule " + get("entry")), priorityInfo
	case event.StorageFull:
		return fmt.Sprintf("has nearly full storage: %s of %s bytes", get("bytes"), get("limit")), priorityWarning
	case event.MemoryShort:
		return because("becomes " + get("becomes") + ", memory is short"), priorityNotice
	case event.Rollout:
		return fmt.Sprintf("rollout of %s to %s: %s", get("service"), get("release"), get("text")), priorityNotice
	case event.TokenCreated:
		return "token " + get("token") + " was made", priorityNotice
	case event.TokenRevoked:
		return "token " + get("token") + " was revoked", priorityNotice
	case event.Started:
		return "the daemon has started, version " + get("version"), priorityNotice
	case event.Stopping:
		return "the daemon is stopping", priorityNotice
	case event.Reloaded:
		return "read " + get("config") + " again", priorityNotice
	case event.ReloadFailed:
		return because("the configuration was not read again"), priorityError
	case event.Audit:
		text := fmt.Sprintf("%s asked for %s", e.Actor, get("action"))
		if !e.Instance.IsZero() {
			text += " of " + e.Instance.String()
		}
		if code := e.Field("code"); code.Kind() == slog.KindString {
			return text + ", and was answered: " + code.String(), priorityNotice
		}
		return text, priorityInfo
	default:
		return strings.ReplaceAll(string(e.Kind), "_", " ") + " " + listed(e.Fields), priorityInfo
	}
}

// serviceSubject is the service, where it is not about a single instance.
func serviceSubject(e event.Event) string {
	if !e.Instance.IsZero() {
		return ""
	}
	return "service " + e.Field("service").String() + " "
}

// listed names the fields and their values.
func listed(fields []slog.Attr) string {
	if len(fields) == 0 {
		return "none of its own"
	}
	var list []string
	for _, f := range fields {
		list = append(list, f.Key+" "+f.Value.String())
	}
	return strings.Join(list, ", ")
}

// millis is a duration for people.
func millis(v slog.Value) string {
	if v.Kind() != slog.KindDuration {
		return "?"
	}
	d := v.Duration()
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// oneLine is text on one line; what apps and people write may be in it.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")))
}

// several is a number and what there are so many of.
func several(n slog.Value, one, many string) string {
	if n.Kind() != slog.KindInt64 {
		return n.String() + " " + many
	}
	return tenant.Count(n.Int64(), one, many)
}

// moment is a time to the second.
func moment(v slog.Value) string {
	if v.Kind() != slog.KindTime {
		return v.String()
	}
	return v.Time().UTC().Format(time.RFC3339)
}
