package journal

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// Scope says whose units are meant.
type Scope int

// The scopes.
const (
	// System is the units of the system manager.
	System Scope = iota
	// User is the units of this process's user's own manager.
	User
)

// Query says which entries to read, of one unit or of many. They come oldest first.
type Query struct {
	// Unit is the service unit's full name, such as tenement-notes@alice.service.
	Unit string
	// Prefix, instead of Unit, begins the names of all service units that are meant, such
	// as "tenement-notes@", and Slice is the slice that they are in.
	Prefix, Slice string
	// Units are those of Prefix alone that are meant, nil for all.
	Units []string
	// Events asks, instead, for the events that an Events has put into the journal, with
	// Slice where no event comes from; of one Instance, such as "notes:alice", or of one
	// Service, or all.
	Events            bool
	Service, Instance string
	// Tenant is, with Events, whose instances are meant, empty for everybody's. What others than
	// Viewer have done is told without who they are.
	Tenant string
	Viewer tenant.Actor
	// Identifier is the unit's SyslogIdentifier=, empty if it has none of its own. It
	// finds the lines of a user's unit whose writer was gone before journald looked.
	Identifier string
	// Lines is how many stored entries to give at most: of those that fit the rest of
	// the query the newest, or with AfterCursor the first ones. 0 is none, negative is
	// all. Follow together with AfterCursor gives all of them.
	Lines int
	// Since and Until bound the entries' time, both inclusive; zero is no bound.
	Since, Until time.Time
	// Level leaves out less urgent entries.
	Level tenant.Level
	// Search is a text that the message has, whatever the case of its letters.
	Search string
	// Grep is what the message matches; nil is everything.
	Grep *regexp.Regexp
	// Follow waits for new entries after the stored ones, until the context ends. New
	// are those from the call on. It does not go together with Until.
	Follow bool
	// AfterCursor leaves out everything up to the entry with this Cursor.
	AfterCursor string
	// BeforeCursor leaves out everything from the entry with this Cursor on. It needs a
	// positive number of Lines, and goes together with neither Follow nor AfterCursor.
	BeforeCursor string
}

var (
	// systemd.unit(5): "Valid unit names consist of …", at most 255 characters.
	unitName   = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,247}\.service$`)
	unitPrefix = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,247}$`)
	sliceName  = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,247}\.slice$`)
	// What is passed to journalctl, not what systemd allows.
	identifierForm = regexp.MustCompile(`^[A-Za-z0-9:_.@-]{0,128}$`)
	// sd_journal_get_cursor(3) calls it opaque; this is what it has looked like since
	// it exists, and the bound on what is passed to journalctl.
	cursorForm = regexp.MustCompile(`^[a-z]=[0-9a-f]{1,32}(;[a-z]=[0-9a-f]{1,32}){1,15}$`)
)

func (q Query) check() error {
	invalid := func(msg, hint string) error {
		return &tenant.Error{Code: tenant.CodeInvalid, Op: "read journal", Msg: msg, Hint: hint}
	}
	switch {
	case q.Events && (q.Unit+q.Prefix != "" || !sliceName.MatchString(q.Slice) ||
		!identifierForm.MatchString(q.Service) || !identifierForm.MatchString(q.Tenant) || !identifierForm.MatchString(q.Instance)):
		return invalid("events are of an instance, a service, or all", "give one of the two, or none")
	case q.Events:
	case q.Prefix == "" && !unitName.MatchString(q.Unit):
		return invalid(fmt.Sprintf("%.80q is not the name of a service unit", q.Unit),
			"use the full name, for example tenement-notes@alice.service")
	case q.Prefix != "" && (q.Unit != "" || !unitPrefix.MatchString(q.Prefix) || !sliceName.MatchString(q.Slice)):
		return invalid(fmt.Sprintf("%.80q in %.80q is not what names of service units begin with", q.Prefix, q.Slice),
			"for example tenement-notes@ in tenement.slice")
	case q.Prefix == "" && q.Units != nil || slices.ContainsFunc(q.Units, func(u string) bool { return !unitName.MatchString(u) || !strings.HasPrefix(u, q.Prefix) }):
		return invalid("some of the units are not those that are meant", "use full names that begin with the prefix")
	case !identifierForm.MatchString(q.Identifier):
		return invalid(fmt.Sprintf("%.80q is not an identifier", q.Identifier),
			"use letters, digits and :_.@-")
	}
	for _, cursor := range []string{q.AfterCursor, q.BeforeCursor} {
		if cursor != "" && !cursorForm.MatchString(cursor) {
			return invalid(fmt.Sprintf("%.80q is not a journal cursor", cursor),
				"use the cursor of an entry as it was given")
		}
	}
	if strings.ContainsRune(q.Search, 0) {
		return invalid("a text to search for has no zero bytes", "leave them out")
	}
	switch {
	case q.Follow && !q.Until.IsZero():
		return invalid("following the journal has no end time", "leave out one of the two")
	case !q.Until.IsZero() && q.Since.After(q.Until):
		return invalid("the time to begin is after the time to end", "exchange the two")
	case q.BeforeCursor != "" && (q.Follow || q.AfterCursor != "" || q.Lines < 1):
		return invalid("what is before an entry can be read by a number of lines only",
			"give a positive number of lines, and neither follow nor begin after an entry")
	}
	return nil
}

// whose says whose entries are meant, for errors and logs.
func (q Query) whose() string {
	if q.Events {
		return Identifier
	}
	if q.Prefix != "" {
		return q.Prefix + "*"
	}
	return q.Unit
}

// start is where a run of journalctl begins; the first field that is set counts.
type start struct {
	after string    // a cursor, exclusive
	from  string    // a cursor, inclusive
	since time.Time // inclusive
}

// outputFields are those that entryReader reads. The cursor and the times always come too.
const outputFields = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID,_COMM,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT"

// arguments is the command line of journalctl for q from a start on.
func (r *Reader) arguments(q Query, from start, sieve string) []string {
	args := r.common(q, sieve)
	switch {
	case from.after != "":
		args = append(args, "--after-cursor="+from.after)
	case from.from != "":
		args = append(args, "--cursor="+from.from)
	case !from.since.IsZero():
		args = append(args, "--since="+timestamp(from.since))
	}
	if !q.Until.IsZero() {
		args = append(args, "--until="+timestamp(q.Until))
	}
	if q.Follow {
		args = append(args, "--follow", "--no-tail") // or it begins ten entries before the end
	}
	return append(args, r.matches(q)...)
}

// newestArguments asks for the newest entries first. Counting from the end is done here,
// because what --lines means together with bounds of time depends on the version of
// journalctl. It takes one place to begin only: with BeforeCursor the bounds of time are
// left to whoever reads.
func (r *Reader) newestArguments(q Query, sieve string) []string {
	args := append(r.common(q, sieve), "--reverse")
	if q.BeforeCursor != "" {
		return append(append(args, "--cursor="+q.BeforeCursor), r.matches(q)...)
	}
	if !q.Since.IsZero() {
		args = append(args, "--since="+timestamp(q.Since))
	}
	if !q.Until.IsZero() {
		args = append(args, "--until="+timestamp(q.Until))
	}
	return append(args, r.matches(q)...)
}

// common is what every command line has.
func (r *Reader) common(q Query, sieve string) []string {
	fields := outputFields
	if q.Prefix != "" {
		fields += ",UNIT,USER_UNIT"
	}
	if q.Events {
		fields += ",_SYSTEMD_SLICE,_SYSTEMD_USER_SLICE," + fieldEvent
	}
	// Without --all a field of more than 4 KiB is null in JSON (journalctl(1)).
	args := []string{"--quiet", "--no-pager", "--all", "--output=json", "--output-fields=" + fields}
	if r.dir != "" {
		args = append(args, "--directory="+r.dir)
	}
	if least := q.Level.Priority(); q.Level != tenant.AnyLevel && least < defaultPriority {
		// The index has the rare ones at hand. Entries without a priority have the default.
		args = append(args, "--priority="+strconv.Itoa(least))
	}
	if sieve != "" {
		args = append(args, "--case-sensitive=no", "--grep="+sieve)
	}
	return args
}

// matches selects a unit's own entries or ("+") its manager's about it, by fields that
// only journald can write (systemd.journal-fields(7), "Trusted Journal Fields"). They
// are narrower than those of journalctl -u, which believes any process of root, and of
// --user-unit, which believes any of the user. The journal is indexed by them, and no
// file is left out: depending on the unit's uid its entries are in the system's journal
// or in a user's.
//
// journald asks the kernel for the writer's cgroup when it gets to its message. If the
// process is gone by then, it takes the system manager's word for the unit of a
// standard output, but not a user manager's: some of the last words of a crash belong to
// no unit. They still have the identifier, so in the User scope a third group selects
// by that, and entryReader drops of it what does belong to some unit.
//
// Events are the daemon's own, which is this process's user, or root, who may have been
// the daemon before; entryReader drops what comes from an instance, whose user may be
// the same.
//
// Many units are found by their slice, which they share, and by all that the manager
// says; entryReader drops what is others'.
func (r *Reader) matches(q Query) []string {
	if q.Events {
		list := []string{"SYSLOG_IDENTIFIER=" + Identifier, "_TRANSPORT=journal", "_UID=" + strconv.Itoa(r.uid)}
		if r.scope == System && r.uid != 0 {
			list = append(list, "_UID=0")
		}
		if q.Service != "" {
			list = append(list, fieldService+"="+q.Service)
		}
		if q.Instance != "" {
			list = append(list, fieldInstance+"="+q.Instance)
		}
		if q.Tenant != "" {
			list = append(list, fieldTenant+"="+q.Tenant)
		}
		return list
	}
	if q.Units != nil {
		return r.unitMatches(q.Units)
	}
	if q.Prefix != "" && r.scope == System {
		return []string{"_SYSTEMD_SLICE=" + q.Slice, "+", "_SYSTEMD_CGROUP=/init.scope"}
	}
	if r.scope == System {
		return []string{"_SYSTEMD_UNIT=" + q.Unit, "+", "_SYSTEMD_CGROUP=/init.scope", "UNIT=" + q.Unit}
	}
	uid := "_UID=" + strconv.Itoa(r.uid)
	if q.Prefix != "" {
		return []string{"_SYSTEMD_USER_SLICE=" + q.Slice, uid, "+", "_SYSTEMD_USER_UNIT=init.scope", uid}
	}
	groups := []string{"_SYSTEMD_USER_UNIT=" + q.Unit, uid, "+", "_SYSTEMD_USER_UNIT=init.scope", uid, "USER_UNIT=" + q.Unit}
	if q.Identifier != "" {
		groups = append(groups, "+", "_TRANSPORT=stdout", uid, "SYSLOG_IDENTIFIER="+q.Identifier)
	}
	return groups
}

// unitMatches is matches for several units; a field that is named again is an alternative.
func (r *Reader) unitMatches(units []string) []string {
	var own, about []string
	for _, unit := range units {
		if r.scope == System {
			own, about = append(own, "_SYSTEMD_UNIT="+unit), append(about, "UNIT="+unit)
		} else {
			own, about = append(own, "_SYSTEMD_USER_UNIT="+unit), append(about, "USER_UNIT="+unit)
		}
	}
	if r.scope == System {
		return slices.Concat(own, []string{"+", "_SYSTEMD_CGROUP=/init.scope"}, about)
	}
	uid := "_UID=" + strconv.Itoa(r.uid)
	return slices.Concat(own, []string{uid, "+", "_SYSTEMD_USER_UNIT=init.scope", uid}, about)
}

// timestamp is t for --since and --until (systemd.time(7)), in microseconds, which is
// the journal's resolution.
func timestamp(t time.Time) string {
	us := max(t.UnixMicro(), 0)
	return fmt.Sprintf("@%d.%06d", us/1e6, us%1e6)
}
