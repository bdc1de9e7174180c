package units

import (
	"path/filepath"
	"strings"

	"tenement.dev/internal/tenant"
)

// withSecrets is the first argument of ten-init (its secretsFlag) that makes it put the secrets named by the
// second into its environment, and become the program that the others are.
const withSecrets = "--exec-with-secrets"

// sandboxCredentials is where ten-init copies the credentials of a sandboxed app to: gVisor
// goes by the mode of a file, and systemd lets the instance's user read by an access control
// list (acl(5)).
const sandboxCredentials = "/var/tmp/credentials"

// Credential is a file that the manager hands an instance as a credential
// (systemd.exec(5), "Credentials"): the instance's own user alone can read it there.
type Credential struct {
	Name, Path string
	// Encrypted: the file is what systemd-creds(1) has made of it.
	Encrypted bool
}

// loadCredential is one entry of LoadCredential and LoadCredentialEncrypted, signature
// a(ss).
type loadCredential struct{ Name, Path string }

// load are the properties for credentials. What they have of a secret is its name.
func load(credentials []Credential) []Property {
	var plain, encrypted []loadCredential
	for _, c := range credentials {
		if c.Encrypted {
			encrypted = append(encrypted, loadCredential{c.Name, c.Path})
		} else {
			plain = append(plain, loadCredential{c.Name, c.Path})
		}
	}
	var props []Property
	if plain != nil {
		props = append(props, Property{"LoadCredential", plain})
	}
	if encrypted != nil {
		props = append(props, Property{"LoadCredentialEncrypted", encrypted})
	}
	return props
}

// inEnvironment are the names of the secrets that the app gets in its environment, in
// the form of ten-init's -secrets.
func inEnvironment(spec tenant.Spec) string {
	var names []string
	for _, s := range spec.Secrets {
		if s.Env {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ",")
}

// credentialsDir is where an instance finds its credentials. Its unit is told so by the
// manager, a sandboxed app by its bundle.
func (h Host) credentialsDir(id tenant.ID) string {
	dir := "/run"
	if h.User {
		dir = filepath.Dir(filepath.Dir(h.NotifySocket))
	}
	return filepath.Join(dir, "credentials", ServiceName(id))
}
