package registry

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// snapshot is the content of all files beside path by name.
func snapshot(t *testing.T, path string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(text)
	}
	return files
}

// wantRefused opens path, wants a refusal with the code and all of the texts for people,
// and wants every file as it was.
func wantRefused(t *testing.T, path string, migrations []string, code tenant.Code, texts ...string) {
	t.Helper()
	before := snapshot(t, path)
	r, err := open(t.Context(), path, migrations)
	if err == nil {
		r.Close()
		t.Fatal("got it opened, want it refused")
	}
	var e *tenant.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %#v (%v), want a *tenant.Error with code %s", err, err, code)
	}
	for _, text := range append(texts, path) {
		if !strings.Contains(e.Msg+"\n"+e.Hint, text) {
			t.Errorf("got %q with hint %q, want it to contain %q", e.Msg, e.Hint, text)
		}
	}
	if e.Hint == "" || strings.Contains(e.Msg+e.Hint, "\n") {
		t.Errorf("got %q with hint %q, want one line each", e.Msg, e.Hint)
	}
	after := snapshot(t, path)
	delete(after, filepath.Base(path)+"-shm") // an index, rebuilt at any time
	delete(before, filepath.Base(path)+"-shm")
	if !maps.Equal(before, after) {
		t.Errorf("the files changed: before %v, after %v",
			slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

// some instances fill a number of pages.
const some = 600

// makeRegistry leaves a closed registry with some pages of instances at path.
func makeRegistry(t *testing.T, path string, migrations []string) {
	t.Helper()
	r, err := open(t.Context(), path, migrations)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, r, some)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyFileIsFresh(t *testing.T) {
	path := newPath(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, mustOpen(t, path), Instance{ID: id("notes", "alice")})
	for name := range snapshot(t, path) {
		if strings.HasSuffix(name, ".bak") {
			t.Errorf("got a copy %s of an empty file", name)
		}
	}
}

func TestDamagedFile(t *testing.T) {
	garbage := bytes.Repeat([]byte("garbage!"), 512)
	for name, damage := range map[string]func(data []byte) []byte{
		"not a database": func([]byte) []byte { return garbage },
		"one byte":       func([]byte) []byte { return []byte("x") },
		"header":         func(data []byte) []byte { copy(data, garbage[:16]); return data },
		"schema page":    func(data []byte) []byte { copy(data[100:4096], garbage); return data },
		"page":           func(data []byte) []byte { copy(data[3*4096:4*4096], garbage); return data },
		"cut short":      func(data []byte) []byte { return data[:len(data)/2] },
		"zeros":          func(data []byte) []byte { clear(data[4096:]); return data },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			makeRegistry(t, path, migrations)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, path, migrations, tenant.CodeInternal, "damaged", "move the file away", "empty registry")

			bak := path + ".v1.bak"
			makeRegistry(t, bak, migrations)
			wantRefused(t, path, migrations, tenant.CodeInternal, "damaged", bak)

			// Doing what the hint says works.
			if err := os.Rename(path, path+".damaged"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(bak, path); err != nil {
				t.Fatal(err)
			}
			if got := len(mustList(t, mustOpen(t, path))); got != some {
				t.Errorf("after restoring the copy: got %d instances, want %d", got, some)
			}
		})
	}
}

// A damaged file beside a write-ahead log that a killed daemon left: the log must not be
// moved into the file by looking at it.
func TestDamagedFileWithLog(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	fill(t, r, some)
	if _, err := r.db.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: id("notes", "alice")})

	killed := newPath(t) // what kill -9 would leave
	if err := os.MkdirAll(filepath.Dir(killed), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			t.Fatalf("%s is empty", suffix)
		}
		if err := os.WriteFile(killed+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(mustList(t, mustOpen(t, copyOf(t, killed)))); got != some+1 {
		t.Fatalf("undamaged: got %d instances, want %d", got, some+1)
	}
	data, err := os.ReadFile(killed)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[len(data)-3*4096:])
	if err := os.WriteFile(killed, data, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, killed, migrations, tenant.CodeInternal, "damaged")
}

// copyOf copies all files beside path to a new directory.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range snapshot(t, path) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, filepath.Base(path))
}

func TestInvalidNameInFile(t *testing.T) {
	r := mustOpen(t, newPath(t))
	if _, err := r.db.ExecContext(t.Context(), sqlAdd, "notes", "../../etc", 0, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	list, err := r.Instances(t.Context())
	var e *tenant.Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, "damaged") {
		t.Errorf("got %v, %v, want the registry called damaged", list, err)
	}
}

func TestForeignDatabase(t *testing.T) {
	path := newPath(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite", app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(app, path); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, path, migrations, tenant.CodeConflict, "another program")
}

func TestUnusablePath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "file", "registry.db")} {
		r, err := Open(t.Context(), path)
		if err == nil {
			r.Close()
			t.Errorf("%s: got it opened", path)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("got %q, want it to name %s", err, path)
		}
	}
}

// nextMigrations is a history with one schema more than the released ones.
var nextMigrations = append(slices.Clone(migrations),
	`ALTER TABLE instances ADD COLUMN weight INTEGER NOT NULL DEFAULT 100 CHECK (weight >= 0);
	 CREATE INDEX by_weight ON instances (weight)`)

func TestMigration(t *testing.T) {
	for version := 1; version < len(nextMigrations); version++ {
		path := newPath(t)
		makeRegistry(t, path, nextMigrations[:version])
		r, err := open(t.Context(), path, nextMigrations)
		if err != nil {
			t.Fatal(err)
		}
		var sum int
		if err := r.db.QueryRow(`SELECT sum(weight) FROM instances`).Scan(&sum); err != nil || sum != some*100 {
			t.Errorf("from version %d: got a sum of weights of %d, %v, want %d", version, sum, err, some*100)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}

		bak := fmt.Sprintf("%s.v%d.bak", path, version)
		info, err := os.Stat(bak)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("the copy has mode %o, want 600", got)
		}
		want := []string{filepath.Base(path), filepath.Base(bak)}
		if got := slices.Sorted(maps.Keys(snapshot(t, path))); !slices.Equal(got, want) {
			t.Errorf("got files %v, want %v", got, want)
		}

		// The older program refuses the new file, and takes the copy in its place.
		old := nextMigrations[:version]
		wantRefused(t, path, old, tenant.CodeUnsupported, "newer Tenement", bak)
		if err := os.Rename(bak, path); err != nil {
			t.Fatal(err)
		}
		wantRefusedNot(t, path, old)
	}
}

func wantRefusedNot(t *testing.T, path string, migrations []string) {
	t.Helper()
	r, err := open(t.Context(), path, migrations)
	if err != nil {
		t.Fatal(err)
	}
	var got int // by hand: the older program's own list knows no newer columns
	if err := r.db.QueryRow(`SELECT count(*) FROM instances`).Scan(&got); err != nil || got != some {
		t.Errorf("got %d instances, %v, want %d", got, err, some)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerVersionWithoutCopy(t *testing.T) {
	path := newPath(t)
	makeRegistry(t, path, nextMigrations)
	wantRefused(t, path, migrations, tenant.CodeUnsupported, "newer Tenement", "install the newer")
}

// A migration that fails half-way leaves the old schema, and can be repeated.
func TestFailedMigration(t *testing.T) {
	path := newPath(t)
	makeRegistry(t, path, migrations)
	broken := append(slices.Clone(nextMigrations), `CREATE TABLE later (a); SELECT nonsense`)
	for range 2 {
		if r, err := open(t.Context(), path, broken); err == nil {
			r.Close()
			t.Fatal("got no error from a broken migration")
		}
	}
	wantRefusedNot(t, path, migrations)
	wantRefusedNot(t, path, nextMigrations)
}

// Killed in a write before the file has become one with a write-ahead log, which leaves
// a rollback journal.
func TestHotRollbackJournal(t *testing.T) {
	path := newPath(t)
	makeRegistry(t, path, migrations)
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		`PRAGMA journal_mode = DELETE`, `PRAGMA cache_size = 5`, `BEGIN`, `UPDATE instances SET wakes = 42, name = name || 'x'`,
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	killed := copyOf(t, path)
	if !exists(killed + "-journal") {
		t.Fatal("no rollback journal was copied")
	}
	list := mustList(t, mustOpen(t, killed))
	if len(list) != some {
		t.Fatalf("got %d instances, want %d", len(list), some)
	}
	for _, in := range list {
		if in.Wakes != 0 {
			t.Fatalf("%s: got %d wakes from an uncommitted transaction, want 0", in.ID, in.Wakes)
		}
	}
}
