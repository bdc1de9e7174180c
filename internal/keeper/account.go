package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// FirstUID to LastUID are for instances: the end of the range that systemd keeps for
// containers (0x00080000 to 0x6fffffff, systemd's UIDS-GIDS.md), whose users do not
// each get a journal file of their own, of 8 MB at least, as ordinary users do. It is
// not ours alone: systemd-nspawn --private-users=pick takes 65536 uids anywhere in it
// for a container. It looks up whether the first of them has an account, which is so
// while an instance with that uid is loaded; a machine that runs such containers beside
// Tenement could still have one whose uids are those of instances.
const (
	FirstUID = 0x6ff00000
	LastUID  = 0x6ffefffe
)

// userdbDir is where systemd looks for user records (nss-systemd(8), userdbctl(1)).
const userdbDir = "/run/userdb"

// accounts gives each instance a uid of its own and remembers it for ever: a number
// that was given out once could still own a file somewhere.
type accounts struct {
	path   string
	userdb string

	mu   sync.Mutex
	uids map[tenant.ID]int
	next int
}

// accountsFile is the file's content.
type accountsFile struct {
	Next int               `json:"next"`
	UIDs map[tenant.ID]int `json:"uids"`
}

func openAccounts(path, userdb string) (*accounts, error) {
	a := &accounts{path: path, userdb: userdb, uids: map[tenant.ID]int{}, next: FirstUID}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read uids of instances: %w", err)
	}
	var file accountsFile
	if err := json.Unmarshal(text, &file); err != nil || file.Next < FirstUID {
		return nil, &tenant.Error{
			Code: tenant.CodeInternal, Op: "read uids of instances",
			Msg:  fmt.Sprintf("%s is damaged", path),
			Hint: "restore it from a backup, or move it away: the owners of the instances' data then say whose which uid is",
			Err:  err,
		}
	}
	a.next = file.Next
	for id, uid := range file.UIDs {
		a.uids[id] = uid
	}
	return a, nil
}

// adopt takes the owners of the data in root for the accounts of its instances, where none has
// been given out: the file is lost, or the data has come from another machine. Else somebody new
// would be who owns what another has kept.
func (a *accounts) adopt(root string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next != FirstUID {
		return nil
	}
	dirs, err := fs.Glob(os.DirFS(root), "*/*")
	if err != nil {
		return fmt.Errorf("find uids of instances: %w", err)
	}
	owned := map[int]bool{}
	for _, dir := range dirs {
		id := tenant.ID{Service: filepath.Base(filepath.Dir(dir)), Name: filepath.Base(dir)}
		var st unix.Stat_t
		if !tenant.IsLabel(id.Service) || !tenant.IsLabel(id.Name) || unix.Lstat(filepath.Join(root, dir), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		uid := int(st.Uid)
		if uid < FirstUID || uid > LastUID {
			continue
		}
		a.next = max(a.next, uid+1)
		if !owned[uid] { // who shares one gets another, and the data with it
			owned[uid], a.uids[id] = true, uid
		}
	}
	return nil
}

// uid gives the instance's uid, a new one if it has none yet.
func (a *accounts) uid(id tenant.ID) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if uid, ok := a.uids[id]; ok {
		return uid, nil
	}
	if a.next > LastUID {
		return 0, &tenant.Error{Code: tenant.CodeLimit, Op: "give uid", ID: id, Msg: "all uids for instances have been given out"}
	}
	uid := a.next
	a.uids[id] = uid
	a.next++
	if err := a.save(); err != nil {
		delete(a.uids, id)
		a.next--
		return 0, err
	}
	return uid, nil
}

func (a *accounts) save() error {
	text, err := json.Marshal(accountsFile{Next: a.next, UIDs: a.uids})
	if err != nil {
		return fmt.Errorf("save uids of instances: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(a.path), 0o755); err != nil {
		return fmt.Errorf("save uids of instances: %w", err)
	}
	if err := writeAtomically(a.path, text, 0o600); err != nil {
		return fmt.Errorf("save uids of instances: %w", err)
	}
	return nil
}

// accountName is the name of the account with the given uid, "ten-0" and on.
func accountName(uid int) string { return "ten-" + strconv.Itoa(uid-FirstUID) }

// publish makes the account known to the machine, since systemd refuses a User=
// that it cannot look up (https://systemd.io/USER_RECORD).
func (a *accounts) publish(id tenant.ID, uid int, home string) error {
	name := accountName(uid)
	number := strconv.Itoa(uid)
	if _, err := os.Lstat(filepath.Join(a.userdb, number+".user")); err == nil {
		return nil
	}
	user, err := json.Marshal(map[string]any{
		"userName": name, "uid": uid, "gid": uid, "disposition": "system", "locked": true,
		"realName": "Tenement " + id.Service + "@" + id.Name, "homeDirectory": home, "shell": "/usr/sbin/nologin",
	})
	if err != nil {
		return fmt.Errorf("publish account of %s: %w", id, err)
	}
	group, err := json.Marshal(map[string]any{"groupName": name, "gid": uid, "disposition": "system"})
	if err != nil {
		return fmt.Errorf("publish account of %s: %w", id, err)
	}
	if err := os.MkdirAll(a.userdb, 0o755); err != nil {
		return fmt.Errorf("publish account of %s: %w", id, err)
	}
	// The links by number come last: with them the account is complete.
	for _, file := range []struct {
		ext  string
		text []byte
	}{{".group", group}, {".user", user}} {
		if err := writeAtomically(filepath.Join(a.userdb, name+file.ext), file.text, 0o644); err != nil {
			return fmt.Errorf("publish account of %s: %w", id, err)
		}
		err := os.Symlink(name+file.ext, filepath.Join(a.userdb, number+file.ext))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("publish account of %s: %w", id, err)
		}
	}
	return nil
}

// known gives the instance's uid if it has one.
func (a *accounts) known(id tenant.ID) (uid int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	uid, ok = a.uids[id]
	return uid, ok
}

// withdraw removes the records of the account with the given uid, which stays the
// instance's.
func (a *accounts) withdraw(uid int) error {
	var errs []error
	for _, base := range []string{strconv.Itoa(uid), accountName(uid)} {
		for _, ext := range []string{".user", ".group"} {
			if err := os.Remove(filepath.Join(a.userdb, base+ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// writeAtomically writes a file so that it has its old or its new content, whatever
// happens, and the new one once it returns.
func writeAtomically(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
