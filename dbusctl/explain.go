package dbusctl

import (
	"os"
	"os/user"
	"strconv"

	"tenement.dev/internal/tenant"
)

// explain says for people why there is no connection.
func explain(scope Scope, err error) error {
	e := &tenant.Error{Code: tenant.CodeUnavailable, Op: "connect to systemd", Err: err}
	switch {
	case !booted():
		e.Code = tenant.CodeUnsupported
		e.Msg = "Tenement needs systemd; none is running here"
		e.Hint = "`make demo` runs it in a throwaway machine"
	case scope == User:
		e.Msg = "no systemd user manager answers for " + userName()
		e.Hint = "log in as that user, or have it started at boot: loginctl enable-linger " + userName()
	default:
		e.Msg = "systemd does not answer on the system bus"
		e.Hint = "see what the bus says: systemctl status dbus.service"
	}
	return e
}

// booted reports whether systemd is PID 1, as sd_booted(3) does.
func booted() bool {
	st, err := os.Lstat("/run/systemd/system")
	return err == nil && st.IsDir()
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
