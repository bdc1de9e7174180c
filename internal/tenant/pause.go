package tenant

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxPauseMessage bounds the message of a Pause, in bytes.
const MaxPauseMessage = 1000

// Pause is maintenance: as long as it lasts, requests for an instance are answered with
// its message and wake nobody.
type Pause struct {
	// Message is what visitors are told, empty for a text of ours.
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
	// Until is when it ends by itself, zero for never.
	Until time.Time `json:"until,omitzero"`
	// Service says that all instances of the service are paused, new ones too.
	Service bool `json:"service,omitempty"`
}

// Holds reports whether the pause has not ended by itself.
func (p Pause) Holds(now time.Time) bool { return p.Until.IsZero() || now.Before(p.Until) }

// CheckPauseMessage refuses what is no text for people. The error is an *Error with
// CodeInvalid.
func CheckPauseMessage(s string) error {
	e := &Error{Code: CodeInvalid, Op: "pause"}
	switch {
	case len(s) > MaxPauseMessage:
		e.Msg = fmt.Sprintf("the message has %d bytes", len(s))
		e.Hint = fmt.Sprintf("%d bytes are the most", MaxPauseMessage)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	}):
		e.Msg = "the message is not one line of text"
		e.Hint = "leave control characters out"
	default:
		return nil
	}
	return e
}
