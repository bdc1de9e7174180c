package units

import (
	"path/filepath"

	"tenement.dev/internal/tenant"
)

// Host is what the machine and its manager can do, and where things are on it.
type Host struct {
	// User is true for a user's own manager: no accounts of their own for instances,
	// sandboxing by user namespaces.
	User bool
	// RuntimeDir holds the doorbells and the instances' sockets.
	RuntimeDir string
	// DataRoot holds the instances' data.
	DataRoot string
	// RealDataRoot is DataRoot without symbolic links. It is what tells units from those of
	// another data directory.
	RealDataRoot string
	// InitPath is ten-init.
	InitPath string
	// SocketUser is whom the doorbells are for, empty for the manager's own user.
	SocketUser string
	// NotifySocket is where the manager takes notifications (sd_notify(3)). A
	// user's manager has it in a directory that the sandbox covers.
	NotifySocket string

	// PrivatePIDs: the manager has the property (systemd 257) and it takes effect.
	PrivatePIDs bool
	// DelegateSubgroup: the manager has the property (systemd 254).
	DelegateSubgroup bool
	// PrivateNetwork takes effect.
	PrivateNetwork bool
	// Namespaces: mount namespaces and system call filters take effect.
	Namespaces bool
	// Runsc is gVisor's runtime, empty where it is not installed, and Sandbox that it
	// was seen to work.
	Runsc   string
	Sandbox bool
	// BindFence: an app in the machine's network can be kept to its own port
	// (landlock(7), Linux 6.7). ConnectFence: everybody else can be kept from it
	// (nftables, as root). Neither is promised by the configuration; network =
	// "private" needs neither.
	BindFence, ConnectFence bool
	// ProjectQuota: the file system of DataRoot enforces project quotas, and this process
	// may set them.
	ProjectQuota bool
	// Controllers are the cgroup controllers that units have: "memory", "cpu", …
	Controllers []string
	// IOWeight: units have a weight for disks.
	IOWeight bool
}

// IngressDir holds the doorbells.
func (h Host) IngressDir() string { return filepath.Join(h.RuntimeDir, "ingress") }

// Doorbell is the path of an instance's doorbell.
func (h Host) Doorbell(id tenant.ID) string {
	return filepath.Join(h.IngressDir(), FileName(id)+".sock")
}

// BundleDir is the directory of a sandboxed instance's bundle.
func (h Host) BundleDir(id tenant.ID) string {
	return filepath.Join(h.RuntimeDir, "bundle", FileName(id))
}

// SocketDir is the directory for an instance's own socket.
func (h Host) SocketDir(id tenant.ID) string {
	return filepath.Join(h.RuntimeDir, "app", FileName(id))
}
