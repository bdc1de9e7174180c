package apitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// taken is when all backups of a Daemon are from.
var taken = time.Date(2026, 11, 22, 7, 30, 0, 0, time.UTC)

// Backup implements api.Backups: an archive is "backup of INSTANCE", and that of an
// instance called broken does not come to its end.
func (m *Instances) Backup(_ context.Context, id tenant.ID) (b tenant.Backup, write func(context.Context, io.Writer) error, drop func(), err error) {
	s, err := m.Get(id)
	if err != nil {
		return b, nil, nil, err
	}
	b = tenant.Backup{
		Format: tenant.BackupFormat, Instance: id, State: s.State, TakenAt: taken, FrozenMS: 1.5,
		DataSize: tenant.DataSize{Bytes: 3 << 20, Files: 4, Others: 2, Skipped: 1, Outside: 1, Shared: true}, Entry: tenant.Entry{Created: taken},
	}
	write = func(_ context.Context, w io.Writer) error {
		if _, err := fmt.Fprintf(w, "backup of %s", id); err != nil {
			return err
		}
		if id.Name == "broken" {
			return errors.New("disk on fire")
		}
		return nil
	}
	return b, write, func() {}, nil
}

// Restore implements api.Backups: it takes everything. notes:full has data.
func (m *Instances) Restore(_ context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions) (tenant.Restored, error) {
	if _, err := m.Get(id); err != nil {
		return tenant.Restored{}, err
	}
	if id.Name == "full" && !o.Force {
		return tenant.Restored{}, &tenant.Error{Code: tenant.CodeConflict, Op: "restore", ID: id, Msg: id.String() + " has data, which a restore replaces", Hint: "--force does that; with --keep-old the data is kept"}
	}
	return restored(r, o)
}

// Import implements api.Backups.
func (m *Instances) Import(_ context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions) (tenant.Restored, error) {
	if _, err := m.Get(id); err == nil {
		return tenant.Restored{}, &tenant.Error{Code: tenant.CodeConflict, Op: "import", ID: id, Msg: "there is an instance " + id.String() + " already", Hint: "--as gives it another name"}
	}
	done, err := restored(r, o)
	if err == nil {
		m.Put(tenant.Snapshot{ID: id})
	}
	if !o.DataOnly {
		done.Pending = []string{"notes.example.com"}
	}
	return done, err
}

func restored(r io.Reader, o tenant.RestoreOptions) (done tenant.Restored, err error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return done, err
	}
	done.From = tenant.Backup{Format: 1, Instance: tenant.ID{Service: "notes", Name: "alice"}, TakenAt: taken}
	if name, ok := strings.CutPrefix(string(text), "backup of "); ok {
		if done.From.Instance, err = tenant.ParseID(name); err != nil {
			return done, err
		}
	}
	done.DataSize = tenant.DataSize{Bytes: int64(len(text)), Files: 1}
	done.DownMS = 2.5
	if o.KeepOld {
		done.Kept = "/srv/data/.kept/notes@alice"
	}
	return done, nil
}
