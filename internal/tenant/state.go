package tenant

import "fmt"

// State is what an instance is doing; the diagram is in the package comment.
type State uint8

// The states of an instance.
const (
	Asleep State = iota
	Waking
	Awake
	Dozing
	Stopping
	Failed
)

var stateNames = [...]string{"asleep", "waking", "awake", "dozing", "stopping", "failed"}

// Runs reports whether an instance in this state has a process, or is about to.
func (s State) Runs() bool { return s != Asleep && s != Failed }

// String prints the word that the CLI, the API and the metrics use.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText prints s as String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses what MarshalText prints.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("parse state: unknown state %q", text)
}
