package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tenement.dev/internal/probe"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// probeID is whom the probe runs as: an account outside the range of instances.
var probeID = tenant.ID{Service: "tenement", Name: "probe"}

const probeUID = LastUID + 1 // still in the range of containers

// Features is what Probe asks of the service manager; dbusctl.Client has it.
type Features interface {
	StartTransient(ctx context.Context, main units.Unit, aux ...units.Unit) error
	Supports(ctx context.Context, iface, property string) (bool, error)
	Version(ctx context.Context) (int, string, error)
}

// Check is one thing that a machine can or cannot do.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	// Hint says what to do where it is not OK.
	Hint string `json:"hint,omitempty"`
}

// Probe starts a unit with the sandbox of an instance and looks at what it really
// got: a property that cannot take effect is often ignored without an error. It
// fills in the host and explains it in a list of checks. base has the paths.
func Probe(ctx context.Context, m Features, base units.Host) (units.Host, []Check, error) {
	version, full, err := m.Version(ctx)
	if err != nil {
		return base, nil, fmt.Errorf("ask systemd for its version: %w", err)
	}
	if version < 252 {
		return base, nil, &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "probe",
			Msg:  fmt.Sprintf("Tenement needs systemd 252 or newer; this is %s", full),
			Hint: "Debian 12, Ubuntu 24.04, RHEL 9 and later have it",
		}
	}
	h := base
	if h.PrivatePIDs, err = m.Supports(ctx, "Service", "PrivatePIDs"); err != nil {
		return base, nil, fmt.Errorf("ask systemd for its features: %w", err)
	}
	if h.DelegateSubgroup, err = m.Supports(ctx, "Service", "DelegateSubgroup"); err != nil {
		return base, nil, fmt.Errorf("ask systemd for its features: %w", err)
	}
	h.ProjectQuota = !h.User && enforcesProjects(h.DataRoot)
	facts, host, errs, err := tryAll(ctx, m, h)
	if err != nil {
		return base, nil, err
	}
	host, claims, err := tryClaims(ctx, m, host)
	if err != nil {
		return base, nil, err
	}
	checks := []Check{{Name: "systemd", OK: true, Detail: full}}
	checks = append(checks, explain(host, version, facts, errs)...)
	return host, append(checks, claims...), nil
}

// tryAll probes with everything that the manager knows, and with less where that
// fails to start; cannot says why. What it finds holds for as long as the daemon runs,
// so a failure counts only if it comes again and the manager is there to answer.
func tryAll(ctx context.Context, m Features, h units.Host) (facts probe.Facts, host units.Host, cannot, err error) {
	all := h
	all.PrivateNetwork = true
	noNet := h
	noPIDs := h
	noPIDs.PrivatePIDs = false
	var errs []error
	for i, try := range []units.Host{all, noNet, noPIDs} {
		spec := try.ProbeSpec(probeID, tenant.IsolationNamespace)
		facts, cannot, err := runProbe(ctx, m, try, spec, 2*i)
		if cannot != nil {
			facts, cannot, err = runProbe(ctx, m, try, spec, 2*i+1)
		}
		if cannot != nil {
			err = transient(ctx, m, cannot)
		}
		if err != nil {
			return facts, h, nil, err
		}
		if cannot == nil {
			return facts, compare(try, facts, probe.Read()), errors.Join(errs...), nil
		}
		errs = append(errs, cannot)
	}
	return probe.Facts{}, compare(noPIDs, probe.Facts{}, probe.Read()), errors.Join(errs...), nil
}

// transient gives the error of a probe that failed where it says nothing of what the
// machine can do.
func transient(ctx context.Context, m Features, cause error) error {
	if errors.Is(cause, units.ErrExists) || ctx.Err() != nil {
		return cause
	}
	if _, _, err := m.Version(ctx); err != nil {
		return fmt.Errorf("%w; systemd does not answer: %w", cause, err)
	}
	return nil
}

// compare keeps of what was asked for what the facts prove; outside is this process.
func compare(asked units.Host, inside, outside probe.Facts) units.Host {
	own := func(ns string) bool {
		return inside.Namespaces[ns] != "" && inside.Namespaces[ns] != outside.Namespaces[ns]
	}
	h := asked
	h.PrivatePIDs = asked.PrivatePIDs && own("pid")
	h.PrivateNetwork = asked.PrivateNetwork && own("net")
	h.Namespaces = own("mnt") && own("ipc") && inside.Seccomp == 2 && inside.NoNewPrivs &&
		(h.User || inside.UID == probeUID)
	h.Controllers = inside.Controllers
	h.IOWeight = inside.IOWeight
	return h
}

// runProbe runs the n-th probe unit, with args for ten-init --probe, and reads what it
// found. cannot says that the unit did not work, err that it could not be tried.
func runProbe(ctx context.Context, m Features, h units.Host, spec tenant.Spec, n int, args ...string) (facts probe.Facts, cannot, err error) {
	dir := spec.DataDir
	o := owner{os.Getuid(), os.Getgid()}
	account := ""
	if !h.User {
		a := &accounts{userdb: userdbDir, uids: map[tenant.ID]int{probeID: probeUID}}
		if err := a.publish(probeID, probeUID, dir); err != nil {
			return facts, nil, err
		}
		defer func() { _ = a.withdraw(probeUID) }()
		account, o = accountName(probeUID), owner{probeUID, probeUID}
	}
	if err := makeWay(h.RuntimeDir, h.DataRoot); err != nil {
		return facts, nil, fmt.Errorf("probe: %w", err)
	}
	if err := makeOwn(dir, o); err != nil {
		return facts, nil, fmt.Errorf("probe: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := makeBundle(h, spec, o); err != nil {
		return facts, nil, fmt.Errorf("probe: %w", err)
	}
	defer os.RemoveAll(h.BundleDir(spec.ID))
	output := filepath.Join(h.RuntimeDir, "probe.json")
	defer os.Remove(output)
	unit := h.ProbeUnit(spec, units.ProbeName(os.Getpid(), n), account, output, args...)
	err = m.StartTransient(ctx, unit)
	text, readErr := os.ReadFile(output)
	if err != nil && len(text) > 0 {
		return facts, fmt.Errorf("probe: %s: %w", firstLine(string(text)), err), nil
	}
	if err := errors.Join(err, readErr); err != nil {
		return facts, fmt.Errorf("probe: %w", err), nil
	}
	if err := json.Unmarshal(text, &facts); err != nil {
		return facts, fmt.Errorf("probe wrote %q: %w", text, err), nil
	}
	return facts, nil, nil
}

// explain puts what was found in words.
func explain(h units.Host, version int, facts probe.Facts, errs error) []Check {
	cause := ""
	if errs != nil {
		cause = "; a probe unit said: " + firstLine(errs.Error())
	}
	checks := []Check{
		{
			Name: `isolation = "namespace"`, OK: h.Namespaces,
			Detail: choose(h.Namespaces, "mount and IPC namespaces, system call filter, no new privileges", "the sandbox does not take effect"+cause),
			Hint:   choose(h.User, "Ubuntu: kernel.apparmor_restrict_unprivileged_userns=1 prevents it for users; run ten serve as root", "is this a container that forbids namespaces? is nss-systemd in /etc/nsswitch.conf?"),
		},
		{
			Name: "process ids of their own", OK: h.PrivatePIDs,
			Detail: choose(h.PrivatePIDs, "PrivatePIDs= takes effect", fmt.Sprintf("PrivatePIDs= is not available (systemd %d)", version)),
			Hint:   "systemd 257 or newer has it; without it instances of their own uid cannot see each other's processes either (ProtectProc=invisible)",
		},
		{
			Name: "a uid of their own", OK: !h.User,
			Detail: choose(h.User, "all instances run as this user", "each instance has its own uid"),
			Hint:   "run ten serve as root",
		},
		{
			Name: `network = "private"`, OK: h.PrivateNetwork,
			Detail: choose(h.PrivateNetwork, "PrivateNetwork= takes effect", "PrivateNetwork= does not take effect"+cause),
			Hint:   `use network = "host" here`,
		},
		{
			Name: "doze", OK: facts.Freezes,
			Detail: choose(facts.Freezes, "instances can be frozen", "instances cannot be frozen: "+facts.CgroupError),
			Hint:   "needs the unified cgroup hierarchy (cgroup v2)",
		},
		{
			Name: "give memory back while dozing", OK: facts.Reclaims,
			Detail: choose(facts.Reclaims, "memory.reclaim is there", "no memory.reclaim: dozing saves CPU time but no memory"),
			Hint:   "needs the memory controller of cgroup v2 and Linux 5.19; swap or zram makes it effective",
		},
	}
	for _, limit := range []struct{ controller, key string }{
		{"memory", "memory_limit_mb"}, {"cpu", "cpu_shares"}, {"cpu", "cpu_quota"}, {"pids", "tasks_max"},
	} {
		ok := slices.Contains(h.Controllers, limit.controller)
		checks = append(checks, Check{
			Name: limit.key, OK: ok,
			Detail: fmt.Sprintf(choose(ok, "services have", "services do not have")+" the cgroup controller %q", limit.controller),
			Hint:   "the controller is bound to cgroup v1, or not delegated to this manager (systemctl show -p DelegateControllers user@UID)",
		})
	}
	checks = append(checks, Check{
		Name: "io_weight", OK: h.IOWeight,
		Detail: choose(h.IOWeight, "services have a weight for disks", "services have no weight for disks"),
		Hint:   "needs the cgroup controller \"io\" for services, and a kernel with io.cost or the BFQ scheduler",
	})
	for i := range checks {
		if checks[i].OK {
			checks[i].Hint = ""
		}
	}
	return checks
}

func choose(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}
