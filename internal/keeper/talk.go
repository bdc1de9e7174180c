package keeper

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// What the two sides say to each other: on each connection one request, a line of JSON, and
// one reply, another. Data of instances is a stream between them (archives.go). Who asked hangs up when it no longer wants to know.
const (
	maxRequest = 64 << 10 // a secret has up to a quarter of that
	maxReply   = 1 << 20
)

// verb is what the keeper is asked for. Each is about one instance, or about the machine.
type verb string

const (
	verbLook    verb = "look"    // read tenement.toml, tell what this machine can do
	verbSandbox verb = "sandbox" // tell whether gVisor works
	verbLoad    verb = "load"
	verbUnload  verb = "unload"
	verbStop    verb = "stop"
	verbWipe    verb = "wipe"
	verbLimit   verb = "limit"
	verbMeasure verb = "measure"
	verbSecret  verb = "secret"
	verbForget  verb = "forget" // secrets: the named one, or all
	// Of these, verbPack and verbUnpack have a stream beside the answer: see archives.go.
	verbFlush    verb = "flush"
	verbSnapshot verb = "snapshot"
	verbPack     verb = "pack"
	verbUnpack   verb = "unpack"
	verbReplace  verb = "replace"
	verbDiscard  verb = "discard"  // of one instance, or of all
	verbGrant    verb = "grant"    // root's: the daemon may have an instance's data for a while
	verbWithdraw verb = "withdraw" // root's: no longer
	verbTend     verb = "tend"     // bound the cgroups of one that has started; look after the fence
)

// request has names and numbers, and nothing that becomes a property of a unit, a path or
// a command line without having been checked.
type request struct {
	Verb    verb          `json:"verb"`
	Service string        `json:"service,omitempty"`
	Name    string        `json:"name,omitempty"`
	Release string        `json:"release,omitempty"`
	Port    int           `json:"port,omitempty"`
	Limits  tenant.Limits `json:"limits,omitempty"`
	// Secrets are the names of those that the instance gets.
	Secrets []tenant.SecretRef `json:"secrets,omitempty"`
	// Secret is the name of one, and Value its value. With both and Name empty it is a
	// service's.
	Secret string `json:"secret,omitempty"`
	Value  []byte `json:"value,omitempty"`
	// Unpacking is how an archive is unpacked, Keep whether what is replaced is
	// kept, or at a wipe what was.
	Unpacking *tenant.Unpacking `json:"unpacking,omitempty"`
	Keep      bool              `json:"keep,omitempty"`
	// Sum is that of the configuration which the other side has read (config.Config.Sum).
	Sum string `json:"sum,omitempty"`
}

func (r request) id() tenant.ID { return tenant.ID{Service: r.Service, Name: r.Name} }

// reply is what becomes of a request: a fault, or what its verb gives.
type reply struct {
	Fault    *fault           `json:"fault,omitempty"`
	Host     *units.Host      `json:"host,omitempty"`
	Checks   []Check          `json:"checks,omitempty"`
	Bytes    int64            `json:"bytes,omitempty"`
	Enforced bool             `json:"enforced,omitempty"`
	Size     *tenant.DataSize `json:"size,omitempty"`
	Kept     string           `json:"kept,omitempty"`
}

// fault is an error on its way.
type fault struct {
	Code  tenant.Code `json:"code,omitempty"` // empty for an error that is not for people
	Op    string      `json:"op,omitempty"`
	Msg   string      `json:"msg,omitempty"`
	Hint  string      `json:"hint,omitempty"`
	Cause string      `json:"cause,omitempty"`
}

// faultOf packs an error.
func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	var e *tenant.Error
	if !errors.As(err, &e) {
		return &fault{Cause: err.Error()}
	}
	f := &fault{Code: e.Code, Op: e.Op, Msg: e.Msg, Hint: e.Hint}
	if e.Err != nil {
		f.Cause = e.Err.Error()
	}
	return f
}

// err unpacks it.
func (f *fault) err(id tenant.ID) error {
	if f == nil {
		return nil
	}
	var cause error
	if f.Cause != "" {
		cause = errors.New(f.Cause)
	}
	if f.Code == "" {
		return fmt.Errorf("keeper: %w", cause)
	}
	return &tenant.Error{Code: f.Code, Op: f.Op, ID: id, Msg: f.Msg, Hint: f.Hint, Err: cause}
}

// errTooLong says that a message has no end within its bound.
var errTooLong = errors.New("message too long")

// readMessage reads one message of at most limit bytes. What it does not know is an error.
func readMessage(in *bufio.Reader, limit int, into any) error {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return errTooLong
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return noEOF(err)
		}
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one message")
	}
	return nil
}

func writeMessage(w io.Writer, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// readAtMost reads all, and no more than limit bytes.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errTooLong
	}
	return text, err
}
