package lifecycletest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/tenant"
)

// Copies are how many snapshots and arrivals there are.
func (s *Systemd) Copies() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.snapshots) + len(s.arrivals)
}

// Flush implements lifecycle.Packer.
func (s *Systemd) Flush(context.Context, tenant.ID) {}

// Snapshot implements lifecycle.Packer. It fails where the instance's app could write
// meanwhile.
func (s *Systemd) Snapshot(ctx context.Context, id tenant.ID) (tenant.DataSize, error) {
	still := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		u := s.units[id]
		return u == nil || u.run == nil || u.run.thawed != nil
	}
	before := still()
	if err := s.enter(ctx, "snapshot"); err != nil {
		return tenant.DataSize{}, err
	}
	if !before || !still() {
		return tenant.DataSize{}, fmt.Errorf("snapshot of %s while it runs", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots[id] = s.storage[id]
	return tenant.DataSize{Bytes: s.storage[id], Files: 1}, nil
}

// Pack implements lifecycle.Packer. What it writes only Unpack understands.
func (s *Systemd) Pack(ctx context.Context, id tenant.ID, w io.Writer) error {
	err := s.enter(ctx, "pack")
	s.mu.Lock()
	bytes, ok := s.snapshots[id]
	delete(s.snapshots, id)
	s.mu.Unlock()
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(bytes)
}

// Unpack implements lifecycle.Unpacker.
func (s *Systemd) Unpack(ctx context.Context, spec tenant.Spec, r io.Reader, o tenant.Unpacking) (tenant.DataSize, error) {
	if err := s.enter(ctx, "unpack"); err != nil {
		return tenant.DataSize{}, err
	}
	_, all, err := archive.ReadManifest(r)
	if err != nil {
		return tenant.DataSize{}, err
	}
	text, err := io.ReadAll(all)
	if err != nil {
		return tenant.DataSize{}, err
	}
	var bytes int64
	if err := json.Unmarshal(text[len(text)-len(lastLine(text)):], &bytes); err != nil {
		return tenant.DataSize{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.storage[spec.ID] > 0 && !o.Replace:
		return tenant.DataSize{}, &tenant.Error{Code: tenant.CodeConflict, Op: "restore", ID: spec.ID, Msg: "it has data"}
	case o.Bytes > 0 && bytes > o.Bytes:
		return tenant.DataSize{}, &tenant.Error{Code: tenant.CodeLimit, Op: "restore", ID: spec.ID, Msg: "it is too much data"}
	}
	s.arrivals[spec.ID] = bytes
	return tenant.DataSize{Bytes: bytes, Files: 1}, nil
}

// lastLine is what follows the zeros of the manifest.
func lastLine(text []byte) []byte {
	at := len(text)
	for at > 0 && text[at-1] != 0 {
		at--
	}
	return text[at:]
}

// Replace implements lifecycle.Unpacker. It fails where the instance is loaded.
func (s *Systemd) Replace(ctx context.Context, id tenant.ID, keep bool) (string, error) {
	if err := s.enter(ctx, "replace"); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, ok := s.arrivals[id]
	if !ok || s.units[id] != nil {
		return "", errors.New("nothing has arrived, or the instance is loaded")
	}
	delete(s.arrivals, id)
	s.storage[id] = bytes
	if keep {
		return "/kept/" + id.String(), nil
	}
	return "", nil
}

// Discard implements lifecycle.Unpacker.
func (s *Systemd) Discard(ctx context.Context, id tenant.ID) error {
	if err := s.enter(ctx, "discard"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.IsZero() {
		clear(s.snapshots)
		clear(s.arrivals)
	}
	delete(s.snapshots, id)
	delete(s.arrivals, id)
	return nil
}
