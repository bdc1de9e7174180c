package ingress

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Verb is what a client asks of ten-init.
type Verb string

// The verbs.
const (
	// Connect: have the app awake and send a connection to it.
	Connect Verb = "connect"
	// Probe: send a connection to the app if it is awake. It wakes nothing; where the
	// app is starting or dozing the answer says so and carries no connection.
	Probe Verb = "probe"
	// Ready: have the app awake.
	Ready Verb = "ready"
	// Arm: be set up and do not start the app before somebody wants it awake. Only the
	// first call to a ten-init can have that; for a later one it is Status.
	Arm Verb = "arm"
	// Doze: freeze the app and give its memory back.
	Doze Verb = "doze"
	// Freeze: freeze the app for as long as the caller stays, and keep its memory. An app
	// that dozes goes on to do so afterwards, any other goes on to run. The caller ends it
	// with a line of its own, and is told whether the app was frozen all the time; one that
	// hangs up ends it, too.
	Freeze Verb = "freeze"
	// Status: tell what the app is doing, changing nothing.
	Status Verb = "status"
)

// ExitMemory is the exit status of a ten-init whose app the kernel has killed for want
// of memory. systemd does not always notice that before ten-init has ended.
const ExitMemory = 113

// What ten-init tells the service manager of its state before it ends (STATUS=,
// sd_notify(3)), for when the manager does not see how the process has ended: a tenant's
// word. Other ends are SaidEnded and how.
const (
	// SaidStopping: it was told to stop.
	SaidStopping = "told to stop"
	SaidEnded    = "the app ended: "
	SaidClean    = SaidEnded + "exit status 0"
)

// Class says why a verb was refused.
type Class string

// The classes of refusal.
const (
	// ClassExec: the app's program could not be executed.
	ClassExec Class = "exec"
	// ClassExited: the app exited before it accepted a connection.
	ClassExited Class = "exited"
	// ClassMemory: the kernel killed the app for want of memory before it accepted a
	// connection.
	ClassMemory Class = "memory"
	// ClassTimeout: the app accepted no connection within its startup timeout.
	ClassTimeout Class = "timeout"
	// ClassPortTaken: something else answers on the app's port.
	ClassPortTaken Class = "port_taken"
	// ClassGone: the app is on its way out; ringing again starts the next one.
	ClassGone Class = "gone"
	// ClassRefused: the app runs and has accepted connections before, but refuses
	// this one.
	ClassRefused Class = "refused"
	// ClassUnsupported: ten-init cannot do what the verb asks on this machine.
	ClassUnsupported Class = "unsupported"
	// ClassNotFrozen: the app has not stopped in time for a doze; another attempt may.
	ClassNotFrozen Class = "not_frozen"
	// ClassBadRequest: the verb is not known.
	ClassBadRequest Class = "bad_request"
)

// Refusal is an answer of ten-init that says no.
type Refusal struct {
	Class Class
	Text  string
}

func (r *Refusal) Error() string { return string(r.Class) + ": " + r.Text }

// Answer is an answer of ten-init that says yes. Moments are nanoseconds of
// CLOCK_MONOTONIC (clock_gettime(2)), 0 where they do not apply.
type Answer struct {
	// InitAt is when ten-init began.
	InitAt int64
	// ReadyAt is when the app accepted its first connection.
	ReadyAt int64
	// Armed is whether the app has not been started, since nobody has wanted it.
	Armed bool
	// Dozing is whether the app was frozen when the verb arrived; for Doze, whether
	// it is now.
	Dozing bool
}

// maxLine bounds a line of the protocol in either direction, in bytes.
const maxLine = 1024

// encode gives the line for a.
func (a Answer) encode() string {
	return fmt.Sprintf("ok init=%d ready=%d dozing=%d armed=%d\n", a.InitAt, a.ReadyAt, number(a.Dozing), number(a.Armed))
}

func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// encode gives the line for r; line breaks in its text become spaces and a long text
// is cut.
func (r *Refusal) encode() string {
	text := printable(r.Text)
	const room = maxLine - 64
	if len(text) > room {
		text = strings.ToValidUTF8(text[:room], "")
	}
	return "error " + string(r.Class) + " " + text + "\n"
}

// printable makes text fit for a terminal, whoever wrote it: control characters become
// spaces.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "�"))
}

// decode parses an answer line without its line break. A refusal is the error, a
// *Refusal.
func decode(line string) (Answer, error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "ok":
		return decodeOK(rest)
	case "error":
		class, text, _ := strings.Cut(rest, " ")
		if class == "" || len(class) > 32 {
			return Answer{}, fmt.Errorf("malformed refusal %q", line)
		}
		return Answer{}, &Refusal{Class: Class(class), Text: printable(text)}
	default:
		return Answer{}, fmt.Errorf("malformed answer %q", line)
	}
}

func decodeOK(rest string) (Answer, error) {
	var a Answer
	for field := range strings.FieldsSeq(rest) {
		key, text, ok := strings.Cut(field, "=")
		value, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return Answer{}, fmt.Errorf("malformed field %q", field)
		}
		switch key {
		case "init":
			a.InitAt = value
		case "ready":
			a.ReadyAt = value
		case "dozing":
			a.Dozing = value != 0
		case "armed":
			a.Armed = value != 0
		}
		// Other keys are from a newer ten-init.
	}
	return a, nil
}
