package tenant

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"time"
)

const (
	// MaxSecrets is how many secrets an instance may have, and as many its service.
	MaxSecrets = 32
	// MaxSecretSize is how many bytes a secret may have. All together they stay below what
	// systemd takes for a unit, 1 MiB (systemd.exec(5), LoadCredential=).
	MaxSecretSize = 16 << 10
)

// ownVariables are the environment variables by which an app is told where it listens and who it is.
var ownVariables = []string{
	"PORT", "SOCKET_PATH", "TENEMENT_SERVICE", "TENEMENT_INSTANCE", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY",
}

// IsOwnVariable reports whether an environment variable is set for an app, and not for others to set.
func IsOwnVariable(name string) bool { return slices.Contains(ownVariables, name) }

// secretName is a credential's name that is also one of an environment variable.
var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Secret is what is known of a secret besides its value.
type Secret struct {
	Name string
	// Env: the app gets it as an environment variable too.
	Env bool
	// Changed is when its value was set last.
	Changed time.Time
	// Service: it is the service's, and so that of all its instances.
	Service bool
}

// SecretRef is a secret as a Spec has it: by name.
type SecretRef struct {
	Name string
	Env  bool `json:",omitempty"`
	// Service: it is the service's, not the instance's own.
	Service bool `json:",omitempty"`
	// Version is another one for another value.
	Version int64
}

// Ref is what a Spec has of the secret.
func (s Secret) Ref() SecretRef {
	return SecretRef{Name: s.Name, Env: s.Env, Service: s.Service, Version: s.Changed.UnixMicro()}
}

// CheckSecretName reports whether a secret can have the name; the error is a *Error with
// CodeInvalid.
func CheckSecretName(name string) error {
	if secretName.MatchString(name) {
		return nil
	}
	return &Error{
		Code: CodeInvalid, Op: "name secret",
		Msg:  fmt.Sprintf("%.80q is not the name of a secret", name),
		Hint: "use up to 64 letters, digits and underscores, as in STRIPE_KEY",
	}
}

// CheckSecret reports whether value can be that of a secret; the error is a *Error with
// CodeInvalid, which has nothing of the value.
func CheckSecret(name string, value []byte, env bool) error {
	fail := func(msg, hint string) error {
		return &Error{Code: CodeInvalid, Op: "set secret", Msg: name + " " + msg, Hint: hint}
	}
	switch {
	case CheckSecretName(name) != nil:
		return CheckSecretName(name)
	case len(value) == 0:
		return fail("has no value", "`ten secret rm` removes it")
	case len(value) > MaxSecretSize:
		return fail(fmt.Sprintf("has %d bytes, and %d is the most", len(value), MaxSecretSize), "keep larger things in the data directory")
	case env && IsOwnVariable(name):
		return fail("is a variable that Tenement and systemd set for the app", "give the secret another name, or leave --env out: the app reads it from $CREDENTIALS_DIRECTORY/"+name)
	case env && bytes.IndexByte(value, 0) >= 0:
		return fail("has a NUL byte, which no environment variable can have", "leave --env out: the app reads it from $CREDENTIALS_DIRECTORY/"+name)
	}
	return nil
}
