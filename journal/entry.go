package journal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tenement.dev/internal/tenant"
)

// MaxMessage is how many bytes of a message are kept; the rest is replaced by a marker.
const MaxMessage = 64 << 10

// defaultPriority is that of an entry without one: systemd's for what apps print.
const defaultPriority = 6

// maxIdentifier is the same for the identifier, without a marker.
const maxIdentifier = 256

// Entry is one entry of the journal.
type Entry struct {
	// Time is when journald received it, in UTC.
	Time time.Time `json:"time"`
	// Message is what was printed, without the newline at its end. It is valid UTF-8:
	// what was not is replaced by U+FFFD.
	Message string `json:"message"`
	// Priority is 0 (emergency) to 7 (debug), as in syslog(3); 6 where none was given.
	Priority int `json:"priority"`
	// PID is the process that wrote it, 0 if unknown, in the machine's own PID namespace.
	PID int `json:"pid,omitempty"`
	// Unit is the unit that it is about: the one that was asked for, or one of those.
	Unit string `json:"unit"`
	// Identifier is the syslog identifier, which the app chooses; mostly its name.
	Identifier string `json:"identifier,omitempty"`
	// Manager is true for what the service manager says about the unit.
	Manager bool `json:"manager,omitempty"`
	// Event is the whole event as JSON, with Query.Events.
	Event string `json:"event,omitempty"`
	// Cursor is the entry's place in the journal, for Query.AfterCursor.
	Cursor string `json:"cursor"`
}

// managerUnit is the unit that a manager itself is in, the system's or a user's.
const managerUnit = "init.scope"

// entryReader makes entries of a child's output.
type entryReader struct {
	decoder decoder
	scope   Scope
	unit    string   // the one that was asked for
	prefix  string   // or, instead, how the names of those begin
	units   []string // those of them that are meant, nil for all
	events  bool     // or, instead, events
	tenant  string   // whose, empty for everybody's; viewer is who asks then
	viewer  tenant.Actor
	slice   string // where instances are, whom nobody believes to be events

	entry      Entry
	command    string
	systemUnit string // the writer's unit of the system's manager
	userUnit   string // the same of its user's manager
	from       string // the writer's slice
	about      string // the unit that a manager of this scope says it is about
	message    []byte
	size       int64 // of the whole message
}

// next gives the next entry; io.EOF is the end of the output.
func (r *entryReader) next() (Entry, error) {
	for {
		r.entry = Entry{Unit: r.unit, Priority: defaultPriority}
		r.command, r.systemUnit, r.userUnit, r.about, r.from, r.message, r.size = "", "", "", "", "", r.message[:0], 0
		if err := r.decoder.next(r.field); err != nil {
			return Entry{}, err
		}
		if !r.belongs() {
			continue
		}
		entry, err := r.finish()
		if err == nil && r.tenant != "" && !entry.mask(r.viewer) {
			continue
		}
		if err == nil && entry.Manager && ofAdoption(entry.Message) {
			continue
		}
		return entry, err
	}
}

// ofAdoption reports whether systemd says that an instance's main process is none of its own
// children, as it does at each start with PrivatePIDs= until version 258. It is as we want it, and
// tells of nothing to mend.
func ofAdoption(message string) bool {
	return strings.Contains(message, ": Supervising process ") && strings.Contains(message, " which is not our child.")
}

// belongs decides whose entry it is, and drops what is another unit's: see
// Reader.matches, whose last group is too wide.
func (r *entryReader) belongs() bool {
	if r.events {
		return r.from != r.slice && json.Valid([]byte(r.entry.Event))
	}
	owner := r.userUnit
	if r.scope == System {
		owner = r.systemUnit
	}
	r.entry.Manager = owner == managerUnit
	if r.prefix != "" {
		r.entry.Unit = owner
		if r.entry.Manager {
			r.entry.Unit = r.about
		}
		return strings.HasPrefix(r.entry.Unit, r.prefix) && (r.units == nil || slices.Contains(r.units, r.entry.Unit)) && unitName.MatchString(r.entry.Unit)
	}
	nobodys := r.systemUnit == "" && r.userUnit == ""
	return owner == r.unit || r.entry.Manager || nobodys
}

func (r *entryReader) finish() (Entry, error) {
	if r.entry.Cursor == "" || r.entry.Time.IsZero() {
		return Entry{}, fmt.Errorf("journal entry without cursor or time: %w", errSyntax)
	}
	if r.entry.Identifier == "" {
		r.entry.Identifier = r.command
	}
	r.entry.Message = text(r.message)
	if r.size > int64(len(r.message)) {
		r.entry.Message += fmt.Sprintf("… [cut: the message has %d bytes]", r.size)
	}
	return r.entry, nil
}

// field takes one field; a repeated field comes several times.
func (r *entryReader) field(name, value []byte, size int64) {
	e := &r.entry
	switch string(name) {
	case "MESSAGE":
		if r.size > 0 {
			r.message = append(r.message, '\n')
			r.size++
		}
		r.message = append(r.message, value...)
		r.message = r.message[:min(len(r.message), MaxMessage)]
		r.size += size
	case "PRIORITY":
		if len(value) == 1 && '0' <= value[0] && value[0] <= '7' {
			e.Priority = int(value[0] - '0')
		}
	case "SYSLOG_IDENTIFIER":
		e.Identifier = text(value[:min(len(value), maxIdentifier)])
	case "_SYSTEMD_UNIT":
		r.systemUnit = string(value)
	case "_SYSTEMD_USER_UNIT":
		r.userUnit = string(value)
	case "_SYSTEMD_SLICE":
		if r.scope == System {
			r.from = string(value)
		}
	case "_SYSTEMD_USER_SLICE":
		if r.scope == User {
			r.from = string(value)
		}
	case fieldEvent:
		e.Event = string(value)
	case "UNIT":
		if r.scope == System {
			r.about = string(value)
		}
	case "USER_UNIT":
		if r.scope == User {
			r.about = string(value)
		}
	case "_COMM":
		r.command = text(value[:min(len(value), maxIdentifier)])
	case "_PID":
		e.PID, _ = strconv.Atoi(string(value)) // 0 where it is none
	case "__CURSOR":
		e.Cursor = text(value[:min(len(value), maxIdentifier)])
	case "__REALTIME_TIMESTAMP":
		if us, err := strconv.ParseInt(string(value), 10, 64); err == nil && us > 0 {
			e.Time = time.UnixMicro(us).UTC()
		}
	}
}

// text makes valid UTF-8 of b, which may have been cut inside a character.
func text(b []byte) string {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		if last := b[len(b)-back:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				b = b[:len(b)-back]
			}
			break
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
