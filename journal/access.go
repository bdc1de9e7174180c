package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"tenement.dev/internal/tenant"
)

// journalDirs hold the journal, in memory and on disk, in a directory named by the
// machine's ID (systemd-journald.service(8), "Files").
var journalDirs = []string{"/run/log/journal", "/var/log/journal"}

// firstUserUID is where the uids of people begin, whose entries journald keeps in a file
// of their own, on disk only (journald.conf(5), SplitMode=).
const firstUserUID = 1000

// Check tells why the journal cannot be read, as Read does: an error is a *tenant.Error
// with CodeUnsupported.
func (r *Reader) Check() error {
	if r.dir != "" {
		return nil
	}
	_, err := r.access()
	return err
}

// access tells why the journal cannot be read. journalctl itself shows nothing and ends
// well where it may not read the files that the entries are in. ready is false, without
// an error, where there is no entry that this process may read, but may be one later.
func (r *Reader) access() (ready bool, err error) {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return true, nil // a very odd machine; journalctl will say
	}
	machine := strings.TrimSpace(string(id))
	var denied, found bool
	readable := func(name string) bool {
		for _, dir := range journalDirs {
			f, err := os.Open(filepath.Join(dir, machine, name))
			if err == nil {
				f.Close()
				return true
			}
			denied = denied || errors.Is(err, fs.ErrPermission)
			found = found || !errors.Is(err, fs.ErrNotExist)
		}
		return false
	}
	switch {
	case readable("system.journal"):
		return true, nil
	case !found:
		return false, &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "read journal",
			Msg:  "this machine keeps no journal",
			Hint: "start systemd-journald, and set Storage=auto in /etc/systemd/journald.conf",
		}
	case !denied:
		return true, nil // not for lack of permission; journalctl will say
	}
	join := fmt.Sprintf("as root: usermod -aG systemd-journal %s; then log in again", userName(r.uid))
	if r.scope == System {
		return false, &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "read journal",
			Msg:  "no permission to read the system's journal",
			Hint: join,
		}
	}
	if readable(fmt.Sprintf("user-%d.journal", r.uid)) {
		return true, nil
	}
	if _, err := os.Stat(filepath.Join(journalDirs[1], machine, "system.journal")); err == nil && r.uid >= firstUserUID {
		return false, nil // the file comes with this user's first entry
	}
	return false, &tenant.Error{
		Code: tenant.CodeUnsupported, Op: "read journal",
		Msg:  "this machine keeps no journal of its own for this user, and only its administrators may read the system's",
		Hint: join + ". Or keep the journal on disk (Storage=persistent in /etc/systemd/journald.conf)",
	}
}

// userName is the name of a uid, or its number where it has none.
func userName(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
