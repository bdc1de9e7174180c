package main

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inFence runs f on a thread of its own that can bind TCP sockets to the given port
// alone (0: to none) and to ports that the kernel chooses. What f forks inherits that
// for good. It needs no_new_privs, and no rights. The ear hears what f has forked; it is
// nil where none is wanted, or to be had.
//
// ten-init itself stays outside: Landlock lets nobody look into or change the memory of
// a process that is less restricted, so the app cannot make ten-init bind for it.
func inFence(port int, withEar bool, f func() error) (*ear, error) {
	type result struct {
		ear *ear
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		if unix.Gettid() == os.Getpid() {
			// The first thread stands for the process to others, and never ends.
			defer runtime.UnlockOSThread()
			e, err := inFence(port, withEar, f)
			done <- result{e, err}
			return
		}
		e, err := restrict(port, withEar)
		if err == nil {
			err = f()
		}
		done <- result{e, err}
	}()
	r := <-done
	return r.ear, r.err
}

// restrict puts the calling thread behind the fence.
func restrict(port int, withEar bool) (*ear, error) {
	if err := bindOnly(port); err != nil {
		return nil, fmt.Errorf("fence the app's ports with Landlock: %w", err)
	}
	e, err := knownSocketsOnly(withEar)
	if err != nil {
		return nil, fmt.Errorf("fence the app's sockets with seccomp: %w", err)
	}
	return e, nil
}

// The ABI of Landlock that has rules for TCP ports (Linux 6.7), and the one that can
// keep abstract Unix sockets apart (6.12): landlock(7).
const (
	landlockNet   = 4
	landlockScope = 6
)

// landlockABI is the version of Landlock in this kernel.
func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(abi), nil
}

// landlockRuleset is struct landlock_ruleset_attr up to ABI 6.
type landlockRuleset struct{ fs, net, scoped uint64 }

// landlockPort is struct landlock_net_port_attr.
type landlockPort struct{ access, port uint64 }

// bindOnly lets the calling thread bind to the given port and to port 0, by which many
// clients leave the choice to the kernel; listen(2) without bind(2) does the same, and
// no rule can forbid that. It also cuts it off from abstract Unix sockets, which
// have no owner and no mode, of those outside.
func bindOnly(port int) error {
	const rulePort = 2 // LANDLOCK_RULE_NET_PORT, which x/sys does not have
	abi, err := landlockABI()
	if err != nil {
		return err
	}
	if abi < landlockNet {
		return fmt.Errorf("its version is %d, %d (Linux 6.7) has rules for ports", abi, landlockNet)
	}
	rules := landlockRuleset{net: unix.LANDLOCK_ACCESS_NET_BIND_TCP}
	size := unsafe.Offsetof(rules.scoped)
	if abi >= landlockScope {
		rules.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		size = unsafe.Sizeof(rules)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return fmt.Errorf("create ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	ports := []uint64{0}
	if port > 0 {
		ports = append(ports, uint64(port))
	}
	for _, p := range ports {
		rule := landlockPort{unix.LANDLOCK_ACCESS_NET_BIND_TCP, p}
		if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, rulePort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
			return fmt.Errorf("add port %d: %w", p, errno)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("restrict: %w", errno)
	}
	return nil
}

// knownSocketsOnly refuses what makes TCP sockets by another name: MPTCP, which takes
// ports of TCP without asking Landlock and whose packets belong to no user, SMC, and
// io_uring, which makes sockets beside any filter. Programs take the answers for an
// older kernel and do with TCP and ordinary calls. With an ear it has listen(2) heard.
func knownSocketsOnly(withEar bool) (*ear, error) {
	const (
		offNr       = 0  // offsets in struct seccomp_data (seccomp(2)) …
		offProtocol = 32 // … of the low half of the third argument: little-endian
	)
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	equal := func(value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: yes, Jf: no}
	}
	answer := func(what uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what}
	}
	program := func(listen uint32) *unix.SockFprog {
		filter := []unix.SockFilter{
			load(offNr),
			equal(unix.SYS_IO_URING_SETUP, 8, 0),
			equal(unix.SYS_LISTEN, 0, 1),
			answer(listen),
			equal(unix.SYS_SOCKET, 0, 3),
			load(offProtocol),
			equal(unix.IPPROTO_MPTCP, 2, 0),
			equal(unix.IPPROTO_SMC, 1, 0),
			answer(unix.SECCOMP_RET_ALLOW),
			answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
			answer(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		}
		return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	}
	if withEar {
		// Where somebody listens already, as with this whole machine in a container, or the
		// kernel is older than 5.19, there is no ear.
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			uintptr(unsafe.Pointer(program(unix.SECCOMP_RET_USER_NOTIF))))
		if errno == 0 {
			return newEar(int(fd))
		}
	}
	return nil, unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(program(unix.SECCOMP_RET_ALLOW))), 0, 0)
}
