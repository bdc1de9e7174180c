package units

import (
	"path/filepath"
	"strings"

	"tenement.dev/internal/tenant"
)

// homes are people's directories, which the sandbox covers. ProtectHome=tmpfs would
// do the same, but for /root with a mode that lets nobody through to what is bound
// below it.
var homes = []string{"/home", "/root", "/run/user"}

// scratch are the directories in which everybody may write. Each instance gets its own
// in memory, counted to its own memory and of a bounded size: with PrivateTmp= they
// would be directories of the machine's /tmp, which one instance could fill for all, and
// /dev/shm is the machine's own even with PrivateDevices= and PrivateIPC=.
var scratch = []TemporaryFileSystem{
	{"/tmp", "mode=1777,nosuid,nodev,size=256M,nr_inodes=64k"},
	{"/var/tmp", "mode=1777,nosuid,nodev,size=256M,nr_inodes=64k"},
	{"/dev/shm", "mode=1777,nosuid,nodev,size=64M,nr_inodes=16k"},
}

// hidden are the directories that the sandbox covers and programs may lie in.
var hidden = append(homes[:len(homes):len(homes)], "/tmp", "/var/tmp")

// closed are paths of the machine that nobody in the sandbox may use.
//
// The first are the ways to ask the system's manager about units, which includes their
// environment (systemctl show is open to everybody), and where it keeps those of units
// like ours. A user's own are below /run/user. The last has the locks of
// others, which whoever may open one can take (flock(2)).
var closed = []BindPath{
	{Source: noDirectory, Destination: "/run/systemd/transient", Flags: recursive},
	{Source: noSocket, Destination: "/run/systemd/private", Flags: recursive},
	{Source: noDirectory, Destination: "/run/dbus", Flags: recursive},
	{Source: noDirectory, Destination: "/run/lock", Flags: recursive},
}

// manager is one more of the manager's sockets, which not every version has.
const manager = "-/run/systemd/io.systemd.Manager"

// resolvers are the sockets of those who look up host names for everybody on the machine
// (nss-resolve(8), nscd(8)): a way out of a private network, if a narrow one.
var resolvers = []string{"-/run/systemd/resolve/io.systemd.Resolve", "-/run/nscd/socket"}

// The nodes without any permission that systemd itself mounts for InaccessiblePaths=.
// That does what binding them does, but reads the whole table of mounts five times for each
// path: reading it is most of what the start of an instance costs.
const (
	noDirectory = "/run/systemd/inaccessible/dir"
	noSocket    = "/run/systemd/inaccessible/sock"
)

// sandbox are the properties of isolation = "namespace", and with what gVisor needs to
// build its own walls those of "sandbox" (systemd.exec(5), "Sandboxing").
//
// Each costs time at every wake, so those are left out that only repeat what the
// others have settled: without a capability, with /dev private and with
// @system-service alone, nobody can set the clock or the host name, load a module,
// write to /proc/sys or /sys, or take a real-time priority. ProtectKernelTunables=,
// -Modules=, -Logs=, ProtectClock=, ProtectHostname= and RestrictRealtime= took 10 of
// the 40 ms of CPU time that a start had with them.
func (h Host) sandbox(spec tenant.Spec) []Property {
	props := []Property{
		{"PrivateDevices", true},
		{"PrivateIPC", true},
		{"ProtectSystem", "strict"},
		// With PrivatePIDs= systemd 257 leaves /run out of that.
		{"ReadOnlyPaths", []string{"/run"}},
		{"NoNewPrivileges", true},
		{"RestrictSUIDSGID", true},
		{"LockPersonality", true},
		{"RestrictNamespaces", permittedNamespaces(spec)},
		{"RestrictAddressFamilies", Filter{true, []string{"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}}},
		{"CapabilityBoundingSet", uint64(0)},
		{"AmbientCapabilities", uint64(0)},
		{"SystemCallFilter", Filter{true, systemCalls(spec)}},
		// A ring makes calls that no filter sees: sockets of any family, to begin with.
		{"SystemCallFilter", Filter{false, []string{"io_uring_setup"}}},
		{"SystemCallErrorNumber", int32(1)}, // EPERM: a refusal that programs understand
		{"SystemCallArchitectures", []string{"native"}},
		{"TemporaryFileSystem", append(covers(spec), socketDir(spec)...)},
		{"BindPaths", append([]BindPath{bind(spec.DataDir)}, h.closed()...)},
		{"InaccessiblePaths", h.inaccessible(spec)},
	}
	switch {
	case h.PrivatePIDs:
		props = append(props, Property{"PrivatePIDs", "yes"})
	case !h.User:
		props = append(props, Property{"ProtectProc", "invisible"})
	}
	// Outside of a user namespace the owner of a file may take it out of its project, and
	// so out of the quota; gVisor has no such call.
	if h.User || h.ProjectQuota && spec.Isolation != tenant.IsolationSandbox {
		props = append(props, Property{"PrivateUsers", true})
	}
	if paths := h.readable(spec); len(paths) > 0 {
		props = append(props, Property{"BindReadOnlyPaths", paths})
	}
	return props
}

// covers are the empty directories over people's homes, over what everybody may write to
// and, since of all instances' data only its own is to be seen, over the data.
func covers(spec tenant.Spec) []TemporaryFileSystem {
	const options = "ro,mode=0755"
	var list []TemporaryFileSystem
	for _, dir := range append(homes[:len(homes):len(homes)], spec.DataRoot) {
		list = append(list, TemporaryFileSystem{dir, options})
	}
	return append(list, scratch...)
}

// closed are the paths to close by binding. A user's manager has no such nodes of root's,
// and cannot make a mount point where the path is not there.
func (h Host) closed() []BindPath {
	if h.User {
		return nil
	}
	return closed
}

// inaccessible are the other paths to close.
func (h Host) inaccessible(spec tenant.Spec) []string {
	paths := []string{manager}
	if spec.Network == tenant.NetworkPrivate {
		paths = append(paths, resolvers...)
	}
	if h.User {
		for _, path := range closed {
			paths = append(paths, "-"+path.Destination)
		}
	}
	return paths
}

// socketDir is the directory of the instance's socket, where that is not among its data:
// one in memory, for the instance alone. It is ten-init that connects to the socket, from
// within. The directory below it, on the machine's /run, would be another's to fill, and
// without /run nothing on the machine goes on.
func socketDir(spec tenant.Spec) []TemporaryFileSystem {
	if spec.SocketPath == "" || within(spec.SocketPath, spec.DataDir) {
		return nil
	}
	return []TemporaryFileSystem{{filepath.Dir(spec.SocketPath), "mode=1777,nosuid,nodev,noexec,size=1M,nr_inodes=256"}}
}

// writable are the directories that the instance may write to, beside scratch.
func (h Host) writable(spec tenant.Spec) []BindPath {
	paths := []BindPath{bind(spec.DataDir)}
	for _, dir := range socketDir(spec) {
		paths = append(paths, bind(dir.Path))
	}
	return paths
}

// readable are the paths that must stay visible although they lie in a directory
// that the sandbox covers.
func (h Host) readable(spec tenant.Spec) []BindPath {
	var paths []BindPath
	needed := []string{h.InitPath, h.NotifySocket, spec.WorkDir}
	if spec.Isolation == tenant.IsolationSandbox {
		needed = append(needed, h.Runsc, h.BundleDir(spec.ID))
	}
	for _, path := range append(needed, spec.BindReadOnlyPaths...) {
		if covered(path) {
			paths = append(paths, bind(path))
		}
	}
	return paths
}

// hides reports whether the sandbox covers the path.
func (h Host) hides(spec tenant.Spec, path string) bool {
	if !covered(path) && !within(path, spec.DataRoot) {
		return false
	}
	for _, p := range append(h.writable(spec), h.readable(spec)...) {
		if within(path, p.Source) {
			return false
		}
	}
	return true
}

func covered(path string) bool {
	for _, dir := range hidden {
		if within(path, dir) {
			return true
		}
	}
	return false
}

// within reports whether path is dir or lies in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

const recursive = 16384 // MS_REC, mount(2)

func bind(path string) BindPath {
	return BindPath{Source: path, Destination: path, Flags: recursive}
}
