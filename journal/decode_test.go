package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const place = `"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1772366400123456"`

func readerOf(output io.Reader) *entryReader {
	return &entryReader{decoder: newDecoder(output), unit: "a@b.service"}
}

func TestEntries(t *testing.T) {
	base := Entry{
		Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
		Unit: "a@b.service", Priority: 6, Cursor: "s=1;i=2",
	}
	with := func(change func(*Entry)) Entry {
		e := base
		change(&e)
		return e
	}
	message := func(text string) Entry { return with(func(e *Entry) { e.Message = text }) }
	long := strings.Repeat("x", MaxMessage)
	for _, c := range []struct {
		name, fields string
		want         Entry
	}{
		{"nothing but its place", ``, base},
		{"all fields", `,"MESSAGE":"hi","PRIORITY":"3","_PID":"42","SYSLOG_IDENTIFIER":"app","_COMM":"python3","_SYSTEMD_UNIT":"a@b.service"`,
			Entry{Time: base.Time, Message: "hi", Priority: 3, PID: 42, Unit: "a@b.service", Identifier: "app", Cursor: "s=1;i=2"}},
		{"command for identifier", `,"_COMM":"python3"`, with(func(e *Entry) { e.Identifier = "python3" })},
		{"manager", `,"_SYSTEMD_UNIT":"init.scope","UNIT":"a@b.service"`, with(func(e *Entry) { e.Manager = true })},
		{"null", `,"MESSAGE":null`, base},
		{"empty", `,"MESSAGE":""`, base},
		{"no bytes", `,"MESSAGE":[]`, base},
		{"bytes", `,"MESSAGE":[ 104, 105 ,255,10,33]`, message("hi\uFFFD\n!")},
		{"color", `,"MESSAGE":[27,91,51,49,109,114,101,100]`, message("\x1b[31mred")},
		{"half a character at the end", `,"MESSAGE":[104,226,130]`, message("h")},
		{"repeated", `,"MESSAGE":["one",[116,119,111],null,"three"]`, message("one\ntwo\nthree")},
		{"repeated, as two members", `,"MESSAGE":"one","MESSAGE":"two"`, message("one\ntwo")},
		{"escapes", `,"MESSAGE":"\"\\\/\b\f\n\r\t\u0041\u20ac\ud83d\ude00"`, message("\"\\/\b\f\n\r\tA€😀")},
		{"lone surrogates", `,"MESSAGE":"\ud83d|\ude00|\ud83d\ud83d\ude00|\ud83dA"`, message("\uFFFD|\uFFFD|\uFFFD😀|\uFFFDA")},
		{"odd priorities", `,"PRIORITY":"8","_PID":"x"`, base},
		{"repeated priority", `,"PRIORITY":["7","nine"]`, with(func(e *Entry) { e.Priority = 7 })},
		{"long identifier", `,"SYSLOG_IDENTIFIER":"` + long + `"`, with(func(e *Entry) { e.Identifier = long[:maxIdentifier] })},
		{"long name", `,"MESSAGE` + long + `":"hi"`, base},
		{"as long as may be", `,"MESSAGE":"` + long + `"`, message(long)},
		{"too long", `,"MESSAGE":"` + long + `yz"`, message(long + "… [cut: the message has 65538 bytes]")},
		{"too long together", `,"MESSAGE":["` + long[1:] + `","yz"]`, message(long[1:] + "\n… [cut: the message has 65538 bytes]")},
		{"cut in a character", `,"MESSAGE":"` + long[1:] + `€"`, message(long[1:] + "… [cut: the message has 65538 bytes]")},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Twice, so that an entry does not inherit from the one before it.
			output := "{" + place + c.fields + "}\n{" + place + c.fields + "}\n{" + place + "}\n"
			r := readerOf(strings.NewReader(output))
			for _, want := range []Entry{c.want, c.want, base} {
				got, err := r.next()
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("got  %+.200v\nwant %+.200v", got, want)
				}
			}
			if _, err := r.next(); err != io.EOF {
				t.Errorf("after the last: got %v, want EOF", err)
			}
			for i := range strings.TrimSuffix(output[:len(output)/3], "\n") { // cut anywhere
				if i == 300 { // nothing new comes in the long ones
					break
				}
				want := io.ErrUnexpectedEOF
				if i == 0 {
					want = io.EOF
				}
				if _, err := readerOf(strings.NewReader(output[:i])).next(); err != want {
					t.Fatalf("cut after %q: got %v, want %v", output[:i], err, want)
				}
			}
		})
	}
}

func TestDropsOtherUnits(t *testing.T) {
	for _, c := range []struct {
		scope  Scope
		fields string
		want   int
	}{
		{System, `,"_SYSTEMD_UNIT":"a@b.service"`, 1},
		{System, `,"_SYSTEMD_UNIT":"b@a.service","UNIT":"a@b.service"`, 0},
		{System, `,"_SYSTEMD_UNIT":"user@1000.service","_SYSTEMD_USER_UNIT":"a@b.service"`, 0},
		{System, `,"_SYSTEMD_UNIT":"init.scope"`, 1},
		{System, `,"_SYSTEMD_UNIT":"user@1000.service","_SYSTEMD_USER_UNIT":"init.scope"`, 0},
		{User, `,"_SYSTEMD_UNIT":"user@1000.service","_SYSTEMD_USER_UNIT":"a@b.service"`, 1},
		{User, `,"_SYSTEMD_UNIT":"user@1000.service","_SYSTEMD_USER_UNIT":"init.scope"`, 1},
		{User, `,"_SYSTEMD_UNIT":"user@1000.service","_SYSTEMD_USER_UNIT":"b@a.service"`, 0},
		{User, `,"_SYSTEMD_UNIT":"a@b.service"`, 0},
		{User, `,"_SYSTEMD_UNIT":"session-1.scope"`, 0},
		{User, ``, 1},
		{System, `,"_SYSTEMD_UNIT":"init.scope","MESSAGE":"a@b.service: Supervising process 15 which is not our child. We'll most likely not notice when it exits."`, 0},
		{System, `,"_SYSTEMD_UNIT":"a@b.service","MESSAGE":"a@b.service: Supervising process 15 which is not our child. We'll most likely not notice when it exits."`, 1},
	} {
		r := readerOf(strings.NewReader("{" + place + c.fields + "}"))
		r.scope = c.scope
		got := 0
		for {
			if _, err := r.next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			got++
		}
		if got != c.want {
			t.Errorf("scope %v, {%s}: got %d entries, want %d", c.scope, c.fields, got, c.want)
		}
	}
}

func TestNotJournalctl(t *testing.T) {
	for _, output := range []string{
		"Hint: you are not allowed", `[]`, `"x"`, `{x}`, `{"a"}`, `{"a":}`, `{"a":"b",}`, `{"a":"b" "c":"d"}`,
		`{"a":nul}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":[256]}`, `{"a":[1,]}`, `{"a":[1,"x"]}`, `{"a":[-1]}`,
		`{"a":[1 2]}`, `{"a":[[[1]]]}`, `{"a":{}}`, `{"a":1}`,
		`{"MESSAGE":"neither cursor nor time"}`,
	} {
		if e, err := readerOf(strings.NewReader(output + `"]}}}}}`)).next(); !errors.Is(err, errSyntax) {
			t.Errorf("%s: got %+v, %v, want %v", output, e, err, errSyntax)
		}
	}
}

// endless gives the same text for ever.
type endless string

func (e endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func TestMemoryIsBounded(t *testing.T) {
	const huge = 8 << 20
	for name, value := range map[string]io.Reader{
		"string": io.MultiReader(strings.NewReader(`"`), io.LimitReader(endless("x"), huge), strings.NewReader(`"`)),
		"bytes":  io.MultiReader(strings.NewReader(`[1`), io.LimitReader(endless(",1"), huge), strings.NewReader(`]`)),
		"repeated": io.MultiReader(strings.NewReader(`["x"`), io.LimitReader(endless(`,"x"`), huge),
			strings.NewReader(`]`)),
	} {
		r := readerOf(io.MultiReader(strings.NewReader("{"+place+`,"MESSAGE":`), value, strings.NewReader("}")))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e, err := r.next()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(e.Message) > MaxMessage+100 || !strings.HasSuffix(e.Message, " bytes]") {
			t.Errorf("%s: got a message of %d bytes, want %d and a marker", name, len(e.Message), MaxMessage)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%s: a value of %d bytes allocated %d", name, huge, got)
		}
	}
}

// asJournalctl writes an entry as journalctl -o json does.
func asJournalctl(messages ...[]byte) []byte {
	values := make([]any, len(messages))
	for i, m := range messages {
		if utf8.Valid(m) && !bytes.ContainsFunc(m, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
			values[i] = string(m)
			continue
		}
		numbers := make([]int, len(m))
		for j, c := range m {
			numbers[j] = int(c)
		}
		values[i] = numbers
	}
	var value any = values
	if len(values) == 1 {
		value = values[0]
	}
	text, err := json.Marshal(map[string]any{
		"MESSAGE": value, "__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1772366400123456",
	})
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}

// FuzzMessage gives any bytes as a message, and wants them back as far as they are text.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("plain"), []byte("second"))
	f.Add([]byte("\xff\xfe\x00\x1b[31m"), []byte("€\u2028<&>"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		r := readerOf(bytes.NewReader(append(asJournalctl(one), asJournalctl(one, two)...)))
		for _, message := range [][]byte{one, append(append(bytes.Clone(one), '\n'), two...)} {
			e, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if len(one) == 0 {
				continue // what has no text does not get a line
			}
			if !utf8.ValidString(e.Message) || len(e.Message) > 3*MaxMessage+100 {
				t.Errorf("got %d bytes, valid UTF-8: %v", len(e.Message), utf8.ValidString(e.Message))
			}
			if want := string(message); utf8.ValidString(want) && len(want) <= MaxMessage && e.Message != want {
				t.Errorf("got %q, want %q", e.Message, want)
			}
			if len(message) > MaxMessage && !strings.HasSuffix(e.Message, fmt.Sprintf("… [cut: the message has %d bytes]", len(message))) {
				t.Errorf("got %q at the end of a message of %d bytes", e.Message[len(e.Message)-50:], len(message))
			}
		}
	})
}

// FuzzDecoder compares with encoding/json wherever that understands the same.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"b"}`, `{"a":null,"b":[1,2,255],"c":["x",[1],null]}`, `{"a":"\ud83d\ude00\ud83d"}`,
		"{\"a\" : \"\\u0041\" ,\n\"b\":[ ] }", `{"a":[[],[0]]}`,
		`{"a":[256]}`, `{"a":`, `{"a":"\u12"}`, string(asJournalctl([]byte("\xff"))),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		d := newDecoder(bytes.NewReader(input))
		got := map[string]string{}
		var sum int64
		err := d.next(func(name, value []byte, size int64) {
			if len(name) > maxName || len(value) > maxValue || int64(len(value)) > size {
				t.Errorf("got a name of %d bytes, a value of %d of %d", len(name), len(value), size)
			}
			sum += size
			got[string(name)] += string(value) + "\n"
		})
		if sum > int64(len(input)) {
			t.Errorf("got %d bytes of values from %d of input", sum, len(input))
		}
		want, ok := reference(input)
		if !ok {
			return
		}
		if err != nil {
			t.Fatalf("%q: got %v, want %v", input, err, want)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
	})
}

// reference decodes the first object of input with encoding/json; ok is false where it
// is not one that journalctl writes.
func reference(input []byte) (fields map[string]string, ok bool) {
	if !utf8.Valid(input) || len(input) > maxValue {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(input))
	decoder.UseNumber()
	if c, err := decoder.Token(); err != nil || c != json.Delim('{') {
		return nil, false
	}
	fields = map[string]string{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil || len(name.(string)) > maxName {
			return nil, false
		}
		var value any
		if decoder.Decode(&value) != nil {
			return nil, false
		}
		if !add(fields, name.(string), value, 0) {
			return nil, false
		}
	}
	_, err := decoder.Token()
	return fields, err == nil
}

func add(fields map[string]string, name string, value any, depth int) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		fields[name] += v + "\n"
		return true
	case []any:
		if depth == 2 {
			return false
		}
		var text []byte
		for i, item := range v {
			number, isNumber := item.(json.Number)
			if !isNumber {
				if text != nil || !add(fields, name, item, depth+1) {
					return false
				}
				continue
			}
			n, err := number.Int64()
			if err != nil || n < 0 || n > 255 || strings.ContainsAny(number.String(), "-.eE") || i > 0 && text == nil {
				return false
			}
			text = append(text, byte(n))
		}
		if text != nil {
			fields[name] += string(text) + "\n"
		}
		return true
	}
	return false
}

func BenchmarkDecode(b *testing.B) {
	line := []byte(`{"_SYSTEMD_UNIT":"a@b.service","PRIORITY":"6","_PID":"42","_COMM":"python3","SYSLOG_IDENTIFIER":"app",` +
		`"__MONOTONIC_TIMESTAMP":"1691227080","_BOOT_ID":"3915cf1780224a9d93a6a82d3ca12665",` +
		`"MESSAGE":"127.0.0.1 - - [01/Mar/2026 12:00:00] \"GET /notes HTTP/1.1\" 200 -",` + place + "}\n")
	r := readerOf(bytes.NewReader(nil))
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.next(); err == io.EOF {
			r = readerOf(bytes.NewReader(bytes.Repeat(line, 10000)))
		} else if err != nil {
			b.Fatal(err)
		}
	}
}
