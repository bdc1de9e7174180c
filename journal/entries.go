package journal

import (
	"maps"
	"slices"
	"strconv"
)

// Entries puts entries of one's own into the journal, such as those of an access log. It
// is for one goroutine at a time.
type Entries struct{ to sender }

// NewEntries makes an Entries. It has a socket from the first entry on, until the process
// ends.
func NewEntries() *Entries { return &Entries{to: sender{path: nativeSocket}} }

// Send sends an entry of priority info; fields are those of systemd.journal-fields(7)
// beside MESSAGE= and PRIORITY=. It waits for a journald that hangs, but not for long.
func (e *Entries) Send(message string, fields map[string]string) error {
	list := []field{{"MESSAGE", message}, {"PRIORITY", strconv.Itoa(priorityInfo)}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, field{name, fields[name]})
	}
	return e.to.send(list)
}
