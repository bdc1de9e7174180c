package tenant

import (
	"os/user"
	"strconv"
)

// Account is a user of the machine, as a service's user names it.
type Account struct {
	Name     string
	UID, GID int
}

// LookupAccount finds an account by its name or number (systemd.exec(5), User=).
func LookupAccount(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, number := strconv.ParseUint(name, 10, 32); number == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		return Account{}, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return Account{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return Account{Name: u.Username, UID: uid, GID: gid}, err
}
