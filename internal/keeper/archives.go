package keeper

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// Data of instances comes and goes as a stream after the answer that it may: pieces, each
// with its length before it, and one without length at the end. Another answer follows.
const (
	pieceSize  = 256 << 10
	pieceTime  = 5 * time.Minute // without any progress
	streamTime = time.Hour
)

// errPiece says that a stream is none.
var errPiece = errors.New("malformed stream")

// pieces writes a stream.
type pieces struct{ conn net.Conn }

func (p pieces) Write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(len(b), n+pieceSize)]
		if err := p.put(piece); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

func (p pieces) put(b []byte) error {
	_ = p.conn.SetWriteDeadline(time.Now().Add(pieceTime))
	buffers := net.Buffers{binary.BigEndian.AppendUint32(nil, uint32(len(b))), b}
	_, err := buffers.WriteTo(p.conn)
	return err
}

// end ends the stream.
func (p pieces) end() error { return p.put(nil) }

// joined reads a stream to its end.
type joined struct {
	conn net.Conn
	in   *bufio.Reader
	left int
	done bool
}

func (j *joined) Read(b []byte) (int, error) {
	if j.done {
		return 0, io.EOF
	}
	_ = j.conn.SetReadDeadline(time.Now().Add(pieceTime))
	if j.left == 0 {
		var head [4]byte
		if _, err := io.ReadFull(j.in, head[:]); err != nil {
			return 0, noEOF(err)
		}
		size := binary.BigEndian.Uint32(head[:])
		if size > pieceSize {
			return 0, errPiece
		}
		if j.left = int(size); j.left == 0 {
			j.done = true
			return 0, io.EOF
		}
	}
	n, err := j.in.Read(b[:min(len(b), j.left)])
	j.left -= n
	return n, noEOF(err)
}

// noEOF: a stream has an end of its own.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ofData are the verbs by which instances' data leaves its place.
var ofData = map[verb]bool{verbSnapshot: true, verbPack: true, verbUnpack: true, verbReplace: true}

// admitData reports whether who asks may have an instance's data: root, and for a while the
// daemon where root has granted that. Otherwise who has taken over the daemon would have the
// data of all.
func (s *Server) admitData(who unix.Ucred, r request) error {
	switch {
	case (r.Verb == verbGrant || r.Verb == verbWithdraw) && who.Uid != 0:
		return &tenant.Error{Code: tenant.CodeInvalid, Op: "grant data of", ID: r.id(), Msg: "only root can grant that"}
	case !ofData[r.Verb] || who.Uid == 0 || s.notes.granted(r.id()):
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeUnsupported, Op: "copy data of", ID: r.id(),
		Msg:  "this daemon runs without root, and gets an instance's data only when root asks for it",
		Hint: "run the command as root on that machine",
	}
}

// stream does what is asked by verbPack or verbUnpack.
func (s *Server) stream(ctx context.Context, conn net.Conn, in *bufio.Reader, r request) (reply, error) {
	w, release, err := s.open(ctx)
	if err != nil {
		return reply{}, err
	}
	defer release()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	begin := func() error {
		_ = conn.SetWriteDeadline(time.Now().Add(s.talk))
		return writeMessage(conn, reply{})
	}
	if r.Verb == verbPack {
		if err := begin(); err != nil {
			return reply{}, err
		}
		out := pieces{conn}
		err := w.local.Pack(ctx, r.id(), out)
		return reply{}, errors.Join(err, out.end())
	}
	spec, err := w.owner(r)
	if err == nil {
		err = begin()
	}
	if err != nil {
		return reply{}, err
	}
	size, err := w.local.Unpack(ctx, spec, &joined{conn: conn, in: in}, *r.Unpacking)
	return reply{Size: &size}, err
}

// owner is as much of a spec as says whose an instance's data is.
func (w *works) owner(r request) (tenant.Spec, error) {
	cfg := w.config.Load()
	service, err := cfg.Service("restore", r.id())
	if err != nil {
		return tenant.Spec{}, &refusal{err}
	}
	if err := checkOwnUser("restore", r.id(), service); err != nil {
		return tenant.Spec{}, err
	}
	return tenant.Spec{
		ID: r.id(), DataDir: cfg.DataDir(r.id()), DataRoot: cfg.Settings.DataDir, Isolation: service.Isolation, User: service.User,
	}, nil
}

// checkOwnUser refuses what would run as root because nothing else was said.
func checkOwnUser(op string, id tenant.ID, service *config.Service) error {
	if service.Isolation != tenant.IsolationProcess || service.User != "" {
		return nil
	}
	return &refusal{&tenant.Error{
		Code: tenant.CodeUnsupported, Op: op, ID: id, Msg: `isolation = "process" would run it as root`,
		Hint: fmt.Sprintf(`name an account with user = "…" in [service.%s], or use isolation = "namespace"`, id.Service),
	}}
}

// Grant has the keeper at path hand an instance's data to its daemon for a while. It is
// root's to ask for.
func Grant(ctx context.Context, path string, id tenant.ID) error {
	r := &Remote{path: path, turns: make(chan struct{}, 1)}
	_, err := r.about(ctx, verbGrant, id, request{})
	return err
}

// Withdraw ends what Grant has begun, where it has not ended with the backup or restore.
func Withdraw(ctx context.Context, path string, id tenant.ID) error {
	r := &Remote{path: path, turns: make(chan struct{}, 1)}
	_, err := r.about(ctx, verbWithdraw, id, request{})
	return err
}

// Snapshot implements lifecycle.Packer.
func (r *Remote) Snapshot(ctx context.Context, id tenant.ID) (tenant.DataSize, error) {
	answer, err := r.about(ctx, verbSnapshot, id, request{})
	if answer.Size == nil {
		return tenant.DataSize{}, err
	}
	return *answer.Size, err
}

// Flush implements lifecycle.Packer. That it could not is the snapshot's matter.
func (r *Remote) Flush(ctx context.Context, id tenant.ID) {
	if _, err := r.about(ctx, verbFlush, id, request{}); err != nil {
		r.log.Debug("data not flushed", "instance", id, "err", err)
	}
}

// Replace implements lifecycle.Unpacker.
func (r *Remote) Replace(ctx context.Context, id tenant.ID, keep bool) (string, error) {
	answer, err := r.about(ctx, verbReplace, id, request{Keep: keep})
	return answer.Kept, err
}

// Discard implements lifecycle.Unpacker.
func (r *Remote) Discard(ctx context.Context, id tenant.ID) error {
	_, err := r.about(ctx, verbDiscard, id, request{})
	return err
}

// Pack implements lifecycle.Packer.
func (r *Remote) Pack(ctx context.Context, id tenant.ID, w io.Writer) error {
	_, err := r.flow(ctx, request{Verb: verbPack, Service: id.Service, Name: id.Name}, func(conn net.Conn, in *bufio.Reader) error {
		_, err := io.Copy(w, &joined{conn: conn, in: in})
		return err
	})
	return err
}

// Unpack implements lifecycle.Unpacker.
func (r *Remote) Unpack(ctx context.Context, spec tenant.Spec, from io.Reader, o tenant.Unpacking) (tenant.DataSize, error) {
	q := request{Verb: verbUnpack, Service: spec.ID.Service, Name: spec.ID.Name, Unpacking: &o}
	var failed error // to read, which is no fault of the keeper's
	answer, err := r.flow(ctx, q, func(conn net.Conn, _ *bufio.Reader) error {
		source := reading{from, &failed}
		out := pieces{conn}
		if _, err := io.Copy(struct{ io.Writer }{out}, source); err != nil {
			if failed != nil {
				return failed
			}
			return nil // it wants no more, and says why
		}
		return out.end()
	})
	if answer.Size == nil {
		return tenant.DataSize{}, err
	}
	return *answer.Size, err
}

// reading tells a failure to read from one to write.
type reading struct {
	io.Reader
	failed *error
}

func (r reading) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		*r.failed = err
	}
	return n, err
}

// flow asks once, and has do send or take the stream if the keeper agrees.
func (r *Remote) flow(ctx context.Context, q request, do func(net.Conn, *bufio.Reader) error) (reply, error) {
	fail := func(err error) (reply, error) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return reply{}, fmt.Errorf("ask the keeper to %s %s: %w", q.Verb, q.id(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.path)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in := bufio.NewReader(conn)
	if err := writeMessage(conn, q); err != nil {
		return fail(err)
	}
	var agreed, answer reply
	if err := readMessage(in, maxReply, &agreed); err != nil {
		return fail(err)
	}
	if agreed.Fault != nil {
		return reply{}, agreed.Fault.err(q.id())
	}
	if err := do(conn, in); err != nil {
		return fail(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(callTime))
	if err := readMessage(in, maxReply, &answer); err != nil {
		return fail(err)
	}
	return answer, answer.Fault.err(q.id())
}
