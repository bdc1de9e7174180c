package tenant

import (
	"fmt"
	"strings"
)

// Visit is what is known of a request before its instance is: who waits for the
// answer, and what it may be for. The zero value is a program's ordinary request.
type Visit struct {
	Priority Priority
	Kinds    Kinds
}

// Priority orders who is served first where not everybody can be at once.
type Priority uint8

// The priorities, the lowest first.
const (
	PriorityMachine  Priority = iota // a program, or nobody
	PriorityPerson                   // somebody looks at a browser
	PriorityOperator                 // a command
)

// Kinds is a set of reasons for which a request may be answered without waking its
// instance. One request may have several.
type Kinds uint8

// The kinds.
const (
	KindUptime   Kinds = 1 << iota // a monitor that wants to know whether the site is up
	KindHead                       // the method HEAD
	KindFavicon                    // GET /favicon.ico
	KindRobots                     // GET /robots.txt
	KindPrefetch                   // a browser guesses what its user will want
	KindPreview                    // a chat or social network draws a preview of a link
	KindCrawler                    // a search engine or the like
)

var kindNames = [...]string{"uptime", "head", "favicon", "robots", "prefetch", "preview", "crawler"}

// KindNames are the names of all kinds, in the order of their values.
func KindNames() []string { return append([]string(nil), kindNames[:]...) }

// ParseKind gives the kind with a name; not ok if there is none.
func ParseKind(name string) (k Kinds, ok bool) {
	for i, n := range kindNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// First gives the kind of lowest value, 0 of the empty set. A request of several kinds
// is counted and answered as that one.
func (k Kinds) First() Kinds { return k & -k }

// String gives the names, with commas between.
func (k Kinds) String() string {
	var list []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

// Unwoken is the error of a request that finds its instance at rest and is of a kind
// that wakes nobody.
type Unwoken struct {
	ID ID
	// Kind is the one for which it was not woken.
	Kind Kinds
	// State is Asleep, Dozing or Stopping.
	State State
}

// Error implements error.
func (e *Unwoken) Error() string {
	return fmt.Sprintf("%s is %s, and is not woken for kind %s", e.ID, e.State, e.Kind)
}
