package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseID(t *testing.T) {
	long := strings.Repeat("x", MaxLabel)
	for text, want := range map[string]ID{
		"notes:alice":       {"notes", "alice"},
		"a:b":               {"a", "b"},
		"a-b:c--d":          {"a-b", "c--d"},
		"0:9":               {"0", "9"},
		long + ":" + long:   {long, long},
		"xn--mnchen-3ya:v1": {"xn--mnchen-3ya", "v1"},
	} {
		got, err := ParseID(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", ":", "a", "a:", ":b", "a:b:c", "A:b", "a:B", "-a:b", "a-:b", "a:b-", "a.b:c", "a:b c", "a:../b", "a:/etc/x",
		"a:b\n", "a:b\x00", "a:ü", long + "x:a", "a:" + long + "x", "a:x --f", "a:%i", "a:$HOME", "a@b:c",
	} {
		id, err := ParseID(text)
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInvalid || e.Msg == "" || e.Hint == "" || strings.Contains(e.Msg, "\n") || len(e.Msg) > 200 {
			t.Errorf("%q: got %v, %#v, want a short error with a hint", text, id, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("notes:alice")
	f.Add("a:b:c")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			if !id.IsZero() {
				t.Errorf("%q: got %v beside an error", text, id)
			}
			return
		}
		if id.String() != text || !IsLabel(id.Service) || !IsLabel(id.Name) {
			t.Errorf("%q: got %#v", text, id)
		}
		if strings.ContainsAny(text, "/.%$\\\" \n\x00@") {
			t.Errorf("%q was taken", text)
		}
	})
}

func TestIDAsText(t *testing.T) {
	type row struct {
		ID    ID
		State State
	}
	want := row{ID{"notes", "alice"}, Dozing}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"ID":"notes:alice","State":"dozing"}` {
		t.Fatalf("got %s, %v", text, err)
	}
	var got row
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{`{"ID":"x"}`, `{"State":"zombie"}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
}

func TestStates(t *testing.T) {
	for s := Asleep; s <= Failed; s++ {
		text, err := s.MarshalText()
		var back State
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("state %d: got %q, %v, and back %v", s, text, err, back)
		}
	}
	if got := (Failed + 1).String(); got != "state(6)" {
		t.Errorf("got %q for an unknown state", got)
	}
}

func TestError(t *testing.T) {
	inner := &Error{Code: CodeStartFailed, Op: "start", ID: ID{"notes", "alice"}, Msg: "the app ended", Err: io.ErrUnexpectedEOF}
	for _, c := range []struct {
		err  error
		text string
		code Code
	}{
		{inner, "start notes:alice: the app ended: unexpected EOF", CodeStartFailed},
		{&Error{Msg: "only this"}, "only this", ""},
		{&Error{Op: "load", Err: io.EOF}, "load: EOF", ""},
		{fmt.Errorf("outer: %w", inner), "outer: start notes:alice: the app ended: unexpected EOF", CodeStartFailed},
		{errors.Join(io.EOF, inner), "EOF\nstart notes:alice: the app ended: unexpected EOF", CodeStartFailed},
		{io.EOF, "EOF", CodeInternal},
	} {
		if got := c.err.Error(); got != c.text {
			t.Errorf("got %q, want %q", got, c.text)
		}
		if got := CodeOf(c.err); got != c.code {
			t.Errorf("%v: got code %q, want %q", c.err, got, c.code)
		}
	}
	if got := CodeOf(nil); got != "" {
		t.Errorf("got code %q of no error, want none", got)
	}
	if !errors.Is(fmt.Errorf("x: %w", inner), io.ErrUnexpectedEOF) {
		t.Error("the cause is not in the chain")
	}
}

// Any change of a spec makes other units, so each field must count.
func TestFingerprint(t *testing.T) {
	seen := map[string]string{Spec{}.Fingerprint(): "none"}
	kind := reflect.TypeFor[Spec]()
	for i := range kind.NumField() {
		var s Spec
		field := reflect.ValueOf(&s).Elem().Field(i)
		switch v := field.Addr().Interface().(type) {
		case *ID:
			v.Name = "x"
		case *[]string:
			*v = []string{"x"}
		case *time.Duration:
			*v = 1
		case *Limits:
			*v = Limits{LimitMemory: 1}
		case *[]SecretRef:
			*v = []SecretRef{{Version: 1}}
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString("x")
			case reflect.Int, reflect.Int64:
				field.SetInt(1)
			default:
				t.Fatalf("field %s of kind %s is not tried", kind.Field(i).Name, field.Kind())
			}
		}
		print := s.Fingerprint()
		if other, ok := seen[print]; ok {
			t.Errorf("a change of %s and of %s give the same fingerprint", kind.Field(i).Name, other)
		}
		if print != s.Fingerprint() {
			t.Errorf("%s: two fingerprints of one spec", kind.Field(i).Name)
		}
		seen[print] = kind.Field(i).Name
	}
}
