package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Backups copies instances' data and puts it back; *lifecycle.Manager has it. Errors for
// people are *tenant.Error.
type Backups interface {
	// Backup copies an instance's data. write writes the copy as an archive; drop must be
	// called after it, or instead.
	Backup(ctx context.Context, id tenant.ID) (b tenant.Backup, write func(context.Context, io.Writer) error, drop func(), err error)
	Restore(ctx context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions) (tenant.Restored, error)
	Import(ctx context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions) (tenant.Restored, error)
}

// archiveStall is for how long an archive's client may take nothing, or send nothing.
const archiveStall = time.Minute

// getBackup sends a backup. One that is not whole ends as no answer does, so that nobody
// takes it for one.
func (a *API) getBackup(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	ctx, done, err := a.openStream(r)
	if err != nil {
		return err
	}
	defer done()
	b, write, drop, err := a.backups.Backup(ctx, id)
	if err != nil {
		return err
	}
	defer drop()
	b.Entry = tenant.Entry{} // which may be large
	about, err := json.Marshal(b)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", wire.ArchiveType)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", id.Service+"@"+id.Name+".tar.zst"))
	h.Set("Cache-Control", "no-store")
	h.Set(wire.BackupHeader, string(about))
	w.WriteHeader(http.StatusOK)
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	if err := write(ctx, out); err != nil {
		if out.err == nil && ctx.Err() == nil {
			a.log.Error("backup not written", "instance", id, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// patientWriter gives each write its time.
type patientWriter struct {
	w       io.Writer
	control *http.ResponseController
	err     error // of the client
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(archiveStall))
	n, err := p.w.Write(b)
	if err != nil {
		p.err = err
	}
	return n, err
}

// patientReader gives each read its time.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(archiveStall))
	return p.r.Read(b)
}

// archiveIn calls do with what the client sends.
func (a *API) archiveIn(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, body io.Reader) error) error {
	ctx, done, err := a.openStream(r)
	if err != nil {
		return err
	}
	defer done()
	control := http.NewResponseController(w)
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	// Who waits for the client learns nothing of the end of ctx.
	stop := context.AfterFunc(ctx, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return do(ctx, &patientReader{r.Body, control})
}

func (a *API) postRestore(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	o, err := restoreOptions(r)
	if err != nil {
		return err
	}
	return a.archiveIn(w, r, func(ctx context.Context, body io.Reader) error {
		done, err := a.backups.Restore(ctx, id, body, o)
		if err != nil {
			return err
		}
		return a.restored(w, r, http.StatusOK, id, done)
	})
}

func (a *API) postImport(w http.ResponseWriter, r *http.Request) error {
	o, err := restoreOptions(r)
	if err != nil {
		return err
	}
	id, err := tenant.ParseID(r.URL.Query().Get("as"))
	if err != nil {
		return err
	}
	who(r).about = id
	return a.archiveIn(w, r, func(ctx context.Context, body io.Reader) error {
		done, err := a.backups.Import(ctx, id, body, o)
		if err != nil {
			return err
		}
		w.Header().Set("Location", Prefix+"/instances/"+id.String())
		return a.restored(w, r, http.StatusCreated, id, done)
	})
}

func (a *API) restored(w http.ResponseWriter, r *http.Request, status int, id tenant.ID, done tenant.Restored) error {
	s, err := a.instances.Get(id)
	if err != nil {
		return err
	}
	a.reply(w, r, status, wire.Restored{Instance: a.instance(s), Restored: done})
	return nil
}

// restoreOptions reads a query's.
func restoreOptions(r *http.Request) (o tenant.RestoreOptions, err error) {
	q := r.URL.Query()
	for name, into := range map[string]*bool{"force": &o.Force, "keep_old": &o.KeepOld, "outside_links": &o.OutsideLinks, "data_only": &o.DataOnly} {
		switch value := q.Get(name); value {
		case "true":
			*into = true
		case "", "false":
		default:
			return o, invalid(name+"="+quote(value)+" is neither true nor false", "leave it out for false", nil)
		}
	}
	return o, nil
}
