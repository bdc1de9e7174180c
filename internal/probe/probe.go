package probe

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts is what a process finds out about itself.
type Facts struct {
	PID int `json:"pid"`
	UID int `json:"uid"`
	// Namespaces maps "pid", "mnt", "ipc", "net" and "user" to the namespace's
	// identity as in /proc/self/ns (namespaces(7)).
	Namespaces map[string]string `json:"namespaces"`
	// Seccomp is 2 where a system call filter is in force (proc_pid_status(5)).
	Seccomp    int    `json:"seccomp"`
	NoNewPrivs bool   `json:"no_new_privs"`
	CapEff     string `json:"cap_eff"`
	// GVisor says that gVisor is the kernel that the process runs on.
	GVisor bool `json:"gvisor,omitempty"`
	// Controllers are those of the unit's own cgroup, not those of the sub-cgroup that the process
	// is in: there are as many there as the unit hands down. ten-init fills it in, and what follows.
	Controllers []string `json:"controllers"`
	// IOWeight says that the kernel knows weights of the unit's own cgroup for disks
	// (io.cost or BFQ, which a kernel may lack although it has the controller).
	IOWeight bool `json:"io_weight"`
	// Freezes says that the process could freeze a sub-cgroup of its own, Reclaims
	// that it could ask for its memory back, CgroupError why not.
	Freezes     bool   `json:"freezes"`
	Reclaims    bool   `json:"reclaims"`
	CgroupError string `json:"cgroup_error,omitempty"`
	// Landlock is the version of Landlock (landlock(7)), 0 where there is none.
	Landlock int `json:"landlock"`
	// FenceError says why the fence around an app's ports does not stand.
	FenceError string `json:"fence_error,omitempty"`
	// Attempts maps what was tried behind the fence to how it failed, "" if it did not.
	Attempts map[string]string `json:"attempts,omitempty"`
}

// Read looks at the calling process. What cannot be read stays empty.
func Read() Facts {
	f := Facts{PID: os.Getpid(), UID: os.Getuid(), Namespaces: map[string]string{}}
	for _, ns := range []string{"pid", "mnt", "ipc", "net", "user"} {
		if target, err := os.Readlink("/proc/self/ns/" + ns); err == nil {
			f.Namespaces[ns] = target
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Seccomp":
			f.Seccomp, _ = strconv.Atoi(value)
		case "NoNewPrivs":
			f.NoNewPrivs = value == "1"
		case "CapEff":
			f.CapEff = value
		}
	}
	f.GVisor = gVisor()
	return f
}

// gVisor looks for its first words in the kernel's log, which it shows to everybody; no
// other kernel says so of itself.
func gVisor() bool {
	log := make([]byte, 4096)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	return err == nil && strings.Contains(string(log[:n]), "Starting gVisor")
}
