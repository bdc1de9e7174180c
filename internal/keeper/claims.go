package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tenement.dev/internal/probe"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// playground is what a probe in the machine's network shall not get at: another
// instance's port, the daemon's ports and sockets, others' data.
type playground struct {
	own      int // the port that it may have
	attempts []string
	fenceErr error
	close    []func()
}

// outsiderUID is whose the other port is.
const outsiderUID = probeUID + 1

// newPlayground makes one with a fence like that of instances. Nothing is left of it
// after end.
func newPlayground(h units.Host) (*playground, error) {
	p := &playground{}
	if err := p.open(h); err != nil {
		p.end()
		return nil, fmt.Errorf("probe: %w", err)
	}
	return p, nil
}

func (p *playground) open(h units.Host) error {
	var ports []int // another instance's, and one of the daemon's
	for range 2 {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return err
		}
		p.later(func() { l.Close() })
		ports = append(ports, portOf(l))
	}
	free, err := freePorts(3)
	if err != nil {
		return err
	}
	p.own = free[0]
	p.try("serve:127.0.0.1:%d", p.own)
	p.try("bind:127.0.0.1:%d", free[1])
	p.try("mptcp:127.0.0.1:%d", free[2])
	for _, ip := range ownAddresses() {
		for _, port := range ports {
			p.try("connect:%s", net.JoinHostPort(ip.String(), strconv.Itoa(port)))
		}
	}

	// Beside one that is there in any case, those of a daemon that is starting.
	sockets := []string{filepath.Join(h.RuntimeDir, "probe.sock"), fmt.Sprintf("@tenement-probe-%d", os.Getpid())}
	for _, path := range sockets {
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		p.later(func() { l.Close() })
		if path[0] == '/' {
			if err := os.Chmod(path, 0o600); err != nil {
				return err
			}
		}
	}
	daemons, err := filepath.Glob(filepath.Join(h.RuntimeDir, "*.sock"))
	if err != nil {
		return err
	}
	manager := []string{"/run/systemd/private", "/run/systemd/io.systemd.Manager", "/run/dbus/system_bus_socket"}
	if h.User {
		manager = append(manager, filepath.Join(filepath.Dir(h.NotifySocket), "private"))
	}
	for _, path := range slices.Concat(sockets[1:], daemons, manager) {
		p.try("unix:%s", path)
	}

	secret := filepath.Join(h.DataRoot, fmt.Sprintf(".tenement-probe-%d", os.Getpid()))
	if err := os.WriteFile(secret, nil, 0o644); err != nil {
		return err
	}
	p.later(func() { os.Remove(secret) })
	p.try("read:%s", secret)
	p.try("write:%s", h.DataRoot)
	p.try("write:%s", "/usr")

	if h.User {
		p.fenceErr = errors.New("instances share this user")
		return nil
	}
	const table = "tenement-probe"
	dir := filepath.Join(h.RuntimeDir, "probe-fence")
	p.later(func() { _ = dropFence(table, dir) })
	f, err := openFence(table, dir, ports[1])
	if err == nil {
		err = errors.Join(f.allow(probeUID, p.own), f.allow(outsiderUID, ports[0]))
	}
	p.fenceErr = err
	return nil
}

func (p *playground) try(format string, a ...any) {
	p.attempts = append(p.attempts, fmt.Sprintf(format, a...))
}

func (p *playground) later(f func()) { p.close = append(p.close, f) }

func (p *playground) end() {
	for _, f := range slices.Backward(p.close) {
		f()
	}
}

func portOf(l net.Listener) int {
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return addr.Port
}

// freePorts gives ports that nobody listens on at the moment.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, portOf(l))
	}
	return ports, nil
}

// ownAddresses are those at which this machine's ports can be reached: of the loopback
// and, for one of each kind, of its other interfaces.
func ownAddresses() []net.IP {
	list := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	addrs, _ := net.InterfaceAddrs()
	var have4, have6 bool
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok || !ipnet.IP.IsGlobalUnicast() {
			continue
		}
		have := &have6
		if ipnet.IP.To4() != nil {
			have = &have4
		}
		if !*have {
			*have = true
			list = append(list, ipnet.IP)
		}
	}
	return list
}

// tryClaims has a probe unit try what no instance in the machine's network shall be able
// to do. It fills in the host and explains it in checks.
func tryClaims(ctx context.Context, m Features, h units.Host) (units.Host, []Check, error) {
	if !h.Namespaces {
		return h, nil, nil
	}
	facts, fenceErr, cannot, err := tryPlayground(ctx, m, h, 0)
	if err == nil && (cannot != nil || !facts.worked("serve")) {
		// Somebody may have been quicker to take the port.
		facts, fenceErr, cannot, err = tryPlayground(ctx, m, h, 1)
	}
	if err == nil && cannot != nil {
		err = transient(ctx, m, cannot)
	}
	if err != nil {
		return h, nil, err
	}
	h, checks := judge(h, facts, fenceErr, cannot)
	return h, checks, nil
}

// tryPlayground runs the n-th probe in the machine's network.
func tryPlayground(ctx context.Context, m Features, h units.Host, n int) (tried attempts, fenceErr, cannot, err error) {
	p, err := newPlayground(h)
	if err != nil {
		return attempts{}, nil, nil, err
	}
	defer p.end()
	h.PrivateNetwork = false
	args := append([]string{"port:" + strconv.Itoa(p.own)}, p.attempts...)
	facts, cannot, err := runProbe(ctx, m, h, h.ProbeSpec(probeID, tenant.IsolationNamespace), networkProbes+n, args...)
	return attempts{facts}, p.fenceErr, cannot, err
}

// networkProbes is the number of the first probe in the machine's network, after those
// of tryAll.
const networkProbes = 6

// attempts are what a probe has found out by trying.
type attempts struct{ probe.Facts }

// which gives the attempts of the given kinds that were successful.
func (a attempts) which(kinds ...string) (list []string) {
	for what, failure := range a.Attempts {
		kind, _, _ := strings.Cut(what, ":")
		if failure == "" && slices.Contains(kinds, kind) {
			list = append(list, what)
		}
	}
	slices.Sort(list)
	return list
}

func (a attempts) worked(kind string) bool { return len(a.which(kind)) > 0 }

// judge says which claims hold. cannot says that the probe could not look.
func judge(h units.Host, tried attempts, fenceErr, cannot error) (units.Host, []Check) {
	said := func(prefix string, list []string, causes ...string) string {
		if cannot != nil {
			return prefix + "; a probe unit said: " + firstLine(cannot.Error())
		}
		for _, cause := range causes {
			if cause != "" {
				return prefix + ": " + firstLine(cause)
			}
		}
		if len(list) > 0 {
			return prefix + "; what worked: " + strings.Join(list, ", ")
		}
		return prefix
	}
	const elsewhere = `network = "private" needs none of this; `
	bound, reached := tried.which("bind", "mptcp"), tried.which("connect")
	abstract, foreign := split(tried.which("unix"), tried.which("read", "write"))
	serves := tried.worked("serve")

	h.BindFence = tried.FenceError == "" && len(bound) == 0 && serves
	h.ConnectFence = fenceErr == nil && len(reached) == 0 && serves
	closed := cannot == nil && len(foreign) == 0
	h.Namespaces = h.Namespaces && (cannot != nil || closed)
	apart := cannot == nil && len(abstract) == 0
	fenceText := ""
	if fenceErr != nil {
		fenceText = fenceErr.Error()
	}
	return h, []Check{
		{
			Name: "what is not theirs", OK: closed,
			Detail: choose(closed, "no way to others' data, to the daemon or to systemd", said("instances get at what is not theirs", foreign)),
			Hint:   "this should not be: tell us about this machine",
		},
		{
			Name: "a port of their own only", OK: h.BindFence,
			Detail: choose(h.BindFence, `network = "host": an instance binds its own TCP port and no other`, said("instances can bind any port", bound, tried.FenceError)),
			Hint:   elsewhere + "Linux 6.7 or newer, with Landlock, has the means",
		},
		{
			Name: "others' ports", OK: h.ConnectFence,
			Detail: choose(h.ConnectFence, `network = "host": only root and the instance itself reach its port, and no instance the daemon's`, said("instances can connect to others' ports and to the daemon's", reached, fenceText)),
			Hint:   elsewhere + choose(h.User, "or run ten serve as root", "the means is nftables: does the kernel have nf_tables, and this container CAP_NET_ADMIN?"),
		},
		{
			Name: "abstract sockets", OK: apart,
			Detail: choose(apart, `network = "host": abstract Unix sockets of others are out of reach`, said("instances can connect to abstract Unix sockets", abstract)),
			Hint:   elsewhere + "Linux 6.12 or newer, with Landlock, has the means",
		},
	}
}

// split moves all but abstract sockets to the second list.
func split(sockets, others []string) (abstract, rest []string) {
	for _, s := range sockets {
		if strings.HasPrefix(s, "unix:@") {
			abstract = append(abstract, s)
		} else {
			others = append(others, s)
		}
	}
	return abstract, others
}
