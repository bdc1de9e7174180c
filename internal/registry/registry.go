package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"tenement.dev/internal/tenant"
)

// Instance is what is remembered of one instance. Times have a resolution of one
// microsecond and are read back in UTC.
type Instance struct {
	ID tenant.ID
	// Port is the TCP port that is set aside for the instance, 0 for none.
	Port int
	// Created is when it was registered.
	Created time.Time
	// LastActive is when its last request ended, zero if it never had one.
	LastActive time.Time
	// Wakes counts starts from sleep, Thaws wakes from doze.
	Wakes, Thaws int64
	// AppLease and OperatorLease are until when each wants it awake, zero for not.
	AppLease, OperatorLease time.Time
	// RestsSince is since when it has been asleep or failed, zero while it is not. Rested
	// says why it went to sleep, and Reason how it failed before that.
	RestsSince     time.Time
	Rested, Reason string
	// Runs is what it did, tenant.Awake or tenant.Dozing, since RunsSince, in the process that
	// began at Process (nanoseconds of the machine's monotonic clock); RunsSince is zero where
	// it did neither.
	Runs      tenant.State
	RunsSince time.Time
	Process   int64
	// WokenBy is what woke it last, at WokenAt, and LastWake how; zero where that is not known.
	WokenBy  tenant.Cause
	WokenAt  time.Time
	LastWake tenant.Wake
}

// Registry is an open registry file. Its methods may be called from several goroutines.
type Registry struct {
	file file
	db   *sql.DB

	placing sync.Mutex  // guards opened
	opened  os.FileInfo // of the file that db has
}

// Open opens the registry at path. A missing file and a missing directory are made, for
// their owner only; an older schema is migrated, after a copy. A file that cannot be
// used is a *tenant.Error that says what to do, and is left as it was.
func Open(ctx context.Context, path string) (*Registry, error) {
	return open(ctx, path, migrations)
}

// open is Open for a given history of schemas.
func open(ctx context.Context, path string, migrations []string) (*Registry, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open registry %s: %w", path, err)
	}
	f := file{path: abs, migrations: migrations}
	db, err := f.open(ctx)
	if err != nil {
		return nil, f.explain("open", tenant.ID{}, err)
	}
	opened, err := os.Stat(abs)
	if err != nil {
		return nil, f.explain("open", tenant.ID{}, errors.Join(err, db.Close()))
	}
	return &Registry{file: f, db: db, opened: opened}, nil
}

// Close writes everything into the file itself and closes it. The file is put back first where
// it is missing; what is in it goes to a file beside it where another one has its path.
func (r *Registry) Close() error {
	ctx := context.Background()
	_, err := r.Check(ctx)
	if tenant.CodeOf(err) == tenant.CodeConflict {
		err = errors.Join(err, r.leaveBeside(ctx))
	}
	return r.file.explain("close", tenant.ID{}, errors.Join(err, r.db.Close()))
}

// Instances lists all instances, sorted by service and name.
func (r *Registry) Instances(ctx context.Context) ([]Instance, error) {
	list, err := r.instances(ctx)
	return list, r.file.explain("list instances", tenant.ID{}, err)
}

func (r *Registry) instances(ctx context.Context) ([]Instance, error) {
	// There may be very many: a list that grows by and by would be copied again and again.
	var n int
	if err := r.db.QueryRowContext(ctx, sqlCount).Scan(&n); err != nil {
		return nil, err
	}
	rows, err := r.db.QueryContext(ctx, sqlList)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := make([]Instance, 0, n)
	for rows.Next() {
		var in Instance
		var created, lastActive, appLease, operatorLease, restsSince, runsSince, wokenAt int64
		var runs, lastWake string
		if err := rows.Scan(&in.ID.Service, &in.ID.Name, &in.Port,
			&created, &lastActive, &in.Wakes, &in.Thaws, &appLease, &operatorLease,
			&restsSince, &in.Rested, &in.Reason, &runs, &runsSince, &in.Process, &in.WokenBy, &wokenAt, &lastWake); err != nil {
			return nil, err
		}
		if lastWake != "" {
			if err := json.Unmarshal([]byte(lastWake), &in.LastWake); err != nil {
				return nil, r.file.damaged(fmt.Errorf("last wake of %s: %w", in.ID, err))
			}
		}
		if runs != "" {
			if err := in.Runs.UnmarshalText([]byte(runs)); err != nil {
				return nil, r.file.damaged(fmt.Errorf("state of %s: %w", in.ID, err))
			}
			in.RunsSince = fromMicros(runsSince)
		}
		in.WokenAt = fromMicros(wokenAt)
		if len(list) > 0 && list[len(list)-1].ID.Service == in.ID.Service {
			in.ID.Service = list[len(list)-1].ID.Service // one string for all
		}
		if !tenant.IsLabel(in.ID.Service) || !tenant.IsLabel(in.ID.Name) {
			return nil, r.file.damaged(fmt.Errorf("instance %q is no valid name", in.ID))
		}
		in.Created, in.LastActive = fromMicros(created), fromMicros(lastActive)
		in.AppLease, in.OperatorLease = fromMicros(appLease), fromMicros(operatorLease)
		in.RestsSince = fromMicros(restsSince)
		list = append(list, in)
	}
	return list, rows.Err()
}

// Add registers an instance; added is false, and nothing changes, where it exists
// already. A zero Created stands for now. A port that another instance has is a
// *tenant.Error with CodeConflict.
func (r *Registry) Add(ctx context.Context, in Instance) (added bool, err error) {
	if _, err := tenant.ParseID(in.ID.String()); err != nil {
		return false, err
	}
	if err := checkPort(in.ID, in.Port); err != nil {
		return false, err
	}
	if in.Created.IsZero() {
		in.Created = time.Now()
	}
	result, err := r.db.ExecContext(ctx, sqlAdd, in.ID.Service, in.ID.Name, in.Port,
		micros(in.Created), micros(in.LastActive), in.Wakes, in.Thaws)
	if err != nil {
		return false, r.explainPort("register", in.ID, in.Port, err)
	}
	changed, err := result.RowsAffected()
	return changed > 0, r.file.explain("register", in.ID, err)
}

// Remove forgets an instance and frees its port; an unknown one is no error.
func (r *Registry) Remove(ctx context.Context, id tenant.ID) error {
	return r.transact(ctx, "remove", id, func(tx *sql.Tx) error {
		for _, statement := range []string{sqlRemove, sqlRemoveWeight, sqlRemoveDomains, sqlRemovePause, sqlRemoveSecrets} {
			if _, err := tx.ExecContext(ctx, statement, id.Service, id.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// transact does all that f does, or nothing of it.
func (r *Registry) transact(ctx context.Context, op string, id tenant.ID, f func(tx *sql.Tx) error) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return r.file.explain(op, id, err)
	}
	if err = f(tx); err == nil {
		err = tx.Commit()
	} else {
		err = errors.Join(err, tx.Rollback())
	}
	return r.file.explain(op, id, err)
}

// SetPort sets an instance's TCP port aside for it, or frees it with 0. A port that
// another instance has is a *tenant.Error with CodeConflict, an unknown instance one
// with CodeNotFound.
func (r *Registry) SetPort(ctx context.Context, id tenant.ID, port int) error {
	if err := checkPort(id, port); err != nil {
		return err
	}
	// Who starts waits for it, and after a power failure nothing runs that has one.
	err := r.relaxed(ctx, func(db execer) error { return update(ctx, db, sqlSetPort, id, port) })
	if err != nil {
		return r.explainPort("set port of", id, port, err)
	}
	return nil
}

// errNoRow says that there is no such instance.
var errNoRow = errors.New("no such row")

// execer is the registry's connection.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// relaxed has what f changes survive the daemon, as ever, but not wait for the disk: a power
// failure may take it back.
func (r *Registry) relaxed(ctx context.Context, f func(db execer) error) error {
	conn, err := r.db.Conn(ctx) // the only one
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, sqlRelax); err != nil {
		return err
	}
	err = f(conn)
	_, serr := conn.ExecContext(context.WithoutCancel(ctx), sqlStrict)
	return errors.Join(err, serr)
}

// update sets one column of an instance.
func (r *Registry) update(ctx context.Context, statement string, id tenant.ID, values ...any) error {
	return update(ctx, r.db, statement, id, values...)
}

func update(ctx context.Context, db execer, statement string, id tenant.ID, values ...any) error {
	result, err := db.ExecContext(ctx, statement, append([]any{id.Service, id.Name}, values...)...)
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err == nil && changed == 0 {
		return errNoRow
	}
	return err
}

// explainUpdate puts an error of update in words.
func (r *Registry) explainUpdate(op string, id tenant.ID, err error) error {
	if errors.Is(err, errNoRow) {
		return tenant.NoInstance(op, id)
	}
	return r.file.explain(op, id, err)
}

// SaveActivity writes LastActive, Wakes, Thaws, the leases, the rest, what it did while it ran, and
// its latest wake, of all instances in list, or of none on an error. Of the first three a value lower than the stored one leaves
// that as it is; an instance that is not registered is passed over.
func (r *Registry) SaveActivity(ctx context.Context, list []Instance) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([][16]any, len(list))
	for i, in := range list {
		runs, lastWake := "", ""
		if !in.RunsSince.IsZero() {
			runs = in.Runs.String()
		}
		if in.LastWake != (tenant.Wake{}) {
			text, err := json.Marshal(in.LastWake)
			if err != nil {
				return fmt.Errorf("encode last wake of %s: %w", in.ID, err)
			}
			lastWake = string(text)
		}
		rows[i] = [16]any{in.ID.Service, in.ID.Name, micros(in.LastActive), in.Wakes, in.Thaws,
			micros(in.AppLease), micros(in.OperatorLease), micros(in.RestsSince), in.Rested, in.Reason,
			runs, micros(in.RunsSince), in.Process, in.WokenBy, micros(in.WokenAt), lastWake}
	}
	text, err := json.Marshal(rows)
	if err == nil {
		err = r.relaxed(ctx, func(db execer) error {
			_, err := db.ExecContext(ctx, sqlSaveActivity, string(text))
			return err
		})
	}
	return r.file.explain("save activity", tenant.ID{}, err)
}

// TakeOver reports whether the latest daemon has left in order, and notes that this one has
// not: one that is killed does not get to save what has happened last.
func (r *Registry) TakeOver(ctx context.Context) (orderly bool, err error) {
	err = r.transact(ctx, "take over", tenant.ID{}, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, sqlOrderly).Scan(&orderly); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, sqlSetOrderly, 0)
		return err
	})
	return orderly && err == nil, err
}

// Leave notes that the daemon leaves in order: nothing happens after what is saved.
func (r *Registry) Leave(ctx context.Context) error {
	_, err := r.db.ExecContext(ctx, sqlSetOrderly, 1)
	return r.file.explain("leave", tenant.ID{}, err)
}

// explainPort is explain for a statement that sets a port.
func (r *Registry) explainPort(op string, id tenant.ID, port int, err error) error {
	if resultCode(err) != sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return r.explainUpdate(op, id, err)
	}
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: op, ID: id, Err: err,
		Msg:  fmt.Sprintf("port %d belongs to another instance", port),
		Hint: "choose another port",
	}
}

func checkPort(id tenant.ID, port int) error {
	if 0 <= port && port <= 65535 {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeInvalid, Op: "set port of", ID: id,
		Msg:  fmt.Sprintf("%d is not a TCP port", port),
		Hint: "use 1 to 65535, or 0 for none",
	}
}

// micros is t as it is stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
