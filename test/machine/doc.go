// Package machine boots throwaway Debian machines with a real systemd as their PID 1. Integration tests, the demo and the
// benchmarks run in them, so that nothing of the host is needed but root, and nothing of the host is touched.
//
// A machine is a systemd-nspawn container whose root is a cached Debian 13 tree with a fresh overlay on top:
//
//	Prepare  makes the tree once, with mmdebstrap, and keeps it in the cache; installs what the host lacks
//	Boot     starts a machine on an overlay of it and waits until its systemd is up
//	Command  runs a program in a running machine; Run does so on this process' terminal
//	Forward  carries connections from the host into a machine's own network
//	Main     is the TestMain of a package whose tests run inside: go test works as everywhere else
//	Close    ends it
//	RunVM    boots a virtual machine of the same root for one program, where a kernel of its own is needed
//	MainVM   is Main for tests in such a one
//
// Invariants:
//
//   - Machines share nothing but the read-only tree: each has its own pid, mount, network, IPC, UTS and cgroup namespace,
//     its own cgroup at the top of the hierarchy, and its writes go to a tmpfs that only it can see.
//   - A machine never outlives its owner. Its processes live in a pid namespace whose first process the kernel kills when the
//     owner dies, however it dies, and its mounts live in a mount namespace that goes with them. What is left then is an empty
//     cgroup and an empty directory; a watchdog process removes them, and so does the next Boot.
//   - Only things that carry a machine's id, which names its owner by boot, pid and start time, are ever removed.
//
// Where the host's cgroup v2 hierarchy has the controllers, limits work in the machine. On a hybrid host (cgroup v1 beside an
// empty v2) everything works but resource enforcement. A virtual machine enforces everywhere: it is user-mode Linux, an
// ordinary program, in a pid and a mount namespace of its own like the rest; its disks are in that namespace's tmpfs.
package machine
