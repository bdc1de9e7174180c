package units

import (
	"encoding/json"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// RunscHint says what to do where gVisor is missing.
const RunscHint = "install it (Debian 13: apt install runsc; others: https://gvisor.dev/docs/user_guide/install/)"

// firstWithin is the first argument of ten-init (its withinFlag) that makes it the first process of
// a sandbox. An app is not made for that: it would have to collect others' children, and what
// it leaves behind would be killed the moment that it ends.
const firstWithin = "--within"

// permittedNamespaces are the namespaces that the processes of an instance may make: none,
// or those that runsc puts itself into (systemd.exec(5), RestrictNamespaces=).
func permittedNamespaces(spec tenant.Spec) uint64 {
	if spec.Isolation != tenant.IsolationSandbox {
		return 0
	}
	return unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET
}

// systemCalls are what the processes of an instance may ask of the machine's kernel.
// runsc mounts what the app shall see, and begins the app's processes by ptrace; its own
// filters, which come on top, leave its kernel much less than this.
func systemCalls(spec tenant.Spec) []string {
	if spec.Isolation != tenant.IsolationSandbox {
		return []string{"@system-service"}
	}
	return []string{"@system-service", "@mount", "ptrace"}
}

// bundle is an OCI runtime's config.json (opencontainers/runtime-spec, config.md), as far
// as runsc needs it.
type bundle struct {
	Version  string        `json:"ociVersion"`
	Process  bundleProcess `json:"process"`
	Root     bundleRoot    `json:"root"`
	Hostname string        `json:"hostname"`
	Mounts   []bundleMount `json:"mounts"`
	Linux    bundleLinux   `json:"linux"`
}

type bundleProcess struct {
	// User is root within, which is the instance's own user outside: a user namespace
	// of an unprivileged process has that one only. It has no capability.
	User            bundleUser `json:"user"`
	Args            []string   `json:"args"`
	Env             []string   `json:"env"`
	Cwd             string     `json:"cwd"`
	Capabilities    struct{}   `json:"capabilities"`
	NoNewPrivileges bool       `json:"noNewPrivileges"`
}

type bundleUser struct {
	UID   int `json:"uid"`
	GID   int `json:"gid"`
	Umask int `json:"umask"`
}

type bundleRoot struct {
	Path     string `json:"path"`
	Readonly bool   `json:"readonly"`
}

type bundleMount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

type bundleLinux struct {
	Namespaces []bundleNamespace `json:"namespaces"`
}

type bundleNamespace struct {
	Type string `json:"type"`
}

// Bundle is the config.json of a sandboxed instance. Its root is what the unit's own
// mounts show, read-only; what it may write to is mounted again. Of the runtime directory,
// in which the bundles of others are, it sees its own socket's directory alone. The unit
// has a /tmp of its own for all within; its /var/tmp is runsc's (see cmd/ten-init).
func (h Host) Bundle(spec tenant.Spec) []byte {
	b := bundle{
		Version: "1.1.0",
		Process: bundleProcess{
			User: bundleUser{Umask: 0o077}, Args: spec.Argv, Env: spec.Env, Cwd: spec.WorkDir, NoNewPrivileges: true,
		},
		Root:     bundleRoot{Path: "/", Readonly: true},
		Hostname: spec.ID.Name,
		Mounts: []bundleMount{
			{"/proc", "proc", "proc", []string{"nosuid", "nodev", "noexec"}},
			writableMount("/tmp", "/tmp"),
			writableMount("/var/tmp", "/tmp"),
			{h.RuntimeDir, "tmpfs", "tmpfs", []string{"ro", "nosuid", "nodev", "mode=0711", "size=4k"}},
		},
	}
	if len(spec.Secrets) > 0 {
		dir := h.credentialsDir(spec.ID)
		b.Process.Env = append(spec.Env[:len(spec.Env):len(spec.Env)], "CREDENTIALS_DIRECTORY="+dir)
		b.Mounts = append(b.Mounts, bundleMount{dir, "bind", sandboxCredentials, []string{"rbind", "ro", "nosuid", "nodev", "noexec"}})
	}
	if names := inEnvironment(spec); names != "" {
		b.Process.Args = append([]string{h.InitPath, withSecrets, names}, spec.Argv...)
	}
	b.Process.Args = append([]string{h.InitPath, firstWithin}, b.Process.Args...)
	for _, path := range h.writable(spec) {
		b.Mounts = append(b.Mounts, writableMount(path.Destination, path.Source))
	}
	for _, ns := range []string{"pid", "mount", "ipc", "uts"} {
		b.Linux.Namespaces = append(b.Linux.Namespaces, bundleNamespace{ns})
	}
	// Marshalling a struct of strings and numbers cannot fail.
	text, _ := json.Marshal(b)
	return text
}

func writableMount(destination, source string) bundleMount {
	return bundleMount{filepath.Clean(destination), "bind", source, []string{"rbind", "rw", "nosuid", "nodev"}}
}
