package units

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// slack is what the manager's timeouts are longer than ten-init's own, so that
// ten-init is the one to act.
const slack = 5 * time.Second

// Render gives the socket and the service of an instance. account is the user that
// the service runs as, empty for the manager's own. A promise of the spec that the
// machine cannot keep is a *tenant.Error with CodeUnsupported.
//
// credentials are the files with the spec's secrets.
func (h Host) Render(spec tenant.Spec, account string, credentials ...Credential) (socket, service Unit, err error) {
	if err := h.check(spec); err != nil {
		return Unit{}, Unit{}, err
	}
	service = h.service(spec, account)
	service.Properties = append(service.Properties, load(credentials)...)
	return h.socket(spec), service, nil
}

func (h Host) socket(spec tenant.Spec) Unit {
	props := []Property{
		{"Description", h.description("doorbell of", spec.ID)},
		{"Slice", Slice},
		{"CollectMode", "inactive-or-failed"},
		{"Listen", []Listen{{"Stream", h.Doorbell(spec.ID)}}},
		{"SocketMode", uint32(0o600)},
		{"DirectoryMode", uint32(0o700)},
		{"RemoveOnStop", true},
		{"FileDescriptorName", "doorbell"},
		// Each wake is a trigger: the default limit would close the doorbell for good
		// (systemd.socket(5), TriggerLimitIntervalSec=). Failing starts are braked by
		// the daemon.
		{"TriggerLimitIntervalUSec", uint64(0)},
	}
	if h.SocketUser != "" {
		props = append(props, Property{"SocketUser", h.SocketUser})
	}
	return Unit{Name: SocketName(spec.ID), Properties: props}
}

func (h Host) service(spec tenant.Spec, account string) Unit {
	props := []Property{
		{"Description", h.description("instance", spec.ID)},
		{"Slice", Slice},
		{"CollectMode", "inactive-or-failed"},
		{"Type", "notify"},
		{"NotifyAccess", "main"},
		{"ExecStartEx", []Exec{h.exec(spec)}},
		{"Environment", environment(spec)},
		{"WorkingDirectory", spec.WorkDir},
		{"UMask", uint32(0o077)},
		// Each wake is a start: the default limit would fail the unit
		// (systemd.unit(5), StartLimitIntervalSec=).
		{"StartLimitIntervalUSec", uint64(0)},
		{"TimeoutStartUSec", usec(spec.StartupTimeout + slack)},
		{"TimeoutStopUSec", usec(spec.StopGrace + slack)},
		// SIGTERM to all, SIGKILL to what is left. With "mixed", systemd 257 sends
		// SIGKILL at once under PrivatePIDs=, since ten-init is not its own child.
		{"KillMode", "control-group"},
		// An app that SIGTERM ended was stopped, not broken: 128 + 15.
		{"SuccessExitStatus", ExitStatusSet{Statuses: []int32{143}, Signals: []int32{}}},
		{"Delegate", true},
		// As for services that hand no cgroups down: one process killed for want of memory
		// ends the whole, with the result "oom-kill" (systemd.service(5)). ten-init can tell
		// callers so, since it is not the process that the kernel picks.
		{"OOMPolicy", "stop"},
		{"SyslogIdentifier", spec.ID.String()},
		{"LogExtraFields", [][]byte{
			[]byte("TENEMENT_SERVICE=" + spec.ID.Service),
			[]byte("TENEMENT_INSTANCE=" + spec.ID.String()),
			[]byte("TENEMENT_TENANT=" + spec.ID.Name),
		}},
	}
	if h.DelegateSubgroup {
		props = append(props, Property{"DelegateSubgroup", "app"})
	}
	if account != "" {
		props = append(props, Property{"User", account})
	}
	props = append(props, h.limits(spec)...)
	if spec.Isolation == tenant.IsolationSandbox {
		// SIGTERM would end gVisor under the app. SIGCONT, which systemd sends after it
		// anyway (systemd.kill(5)), harms nobody, and ten-init has SIGTERM passed on to
		// the processes within.
		props = append(props, Property{"KillSignal", int32(unix.SIGCONT)})
	}
	if spec.Network == tenant.NetworkPrivate {
		props = append(props, Property{"PrivateNetwork", true})
	}
	if spec.Isolation != tenant.IsolationProcess {
		props = append(props, h.sandbox(spec)...)
	}
	return Unit{Name: ServiceName(spec.ID), Properties: props}
}

// environment is that of ten-init and with it the app's. A sandboxed app's is in its
// bundle, where only the instance can read it.
func environment(spec tenant.Spec) []string {
	if spec.Isolation == tenant.IsolationSandbox {
		return nil
	}
	return spec.Env
}

// exec is the command line of the service. Nothing in it is expanded, neither before
// nor after a daemon-reload ("no-env-expand").
func (h Host) exec(spec tenant.Spec) Exec {
	argv := []string{
		"ten-init",
		"-listen", listenAddress(spec),
		"-startup-timeout", spec.StartupTimeout.String(),
		"-stop-grace", spec.StopGrace.String(),
	}
	if h.ownsPort(spec) {
		argv = append(argv, "-own-port")
	}
	if names := inEnvironment(spec); names != "" && spec.Isolation != tenant.IsolationSandbox {
		argv = append(argv, "-secrets", names)
	}
	if spec.Isolation == tenant.IsolationSandbox {
		argv = append(argv, "-runsc", h.Runsc, "-bundle", h.BundleDir(spec.ID))
		return Exec{Path: h.InitPath, Argv: argv, Options: []string{"no-env-expand"}}
	}
	if h.BindFence && fenced(spec) {
		argv = append(argv, "-fence")
	}
	argv = append(argv, "--")
	return Exec{Path: h.InitPath, Argv: append(argv, spec.Argv...), Options: []string{"no-env-expand"}}
}

// ownsPort reports whether the app's port can be told from others' by the uid of who
// listens there. With a network of its own there are no others.
func (h Host) ownsPort(spec tenant.Spec) bool {
	return !h.User && spec.Isolation == tenant.IsolationNamespace &&
		spec.Network == tenant.NetworkHost && spec.Listen == tenant.ListenPort
}

// fenced reports whether the instance is to be kept from others' ports: it shares their
// network, and not their privileges.
func fenced(spec tenant.Spec) bool {
	return spec.Isolation != tenant.IsolationProcess && spec.Network == tenant.NetworkHost
}

// LacksFence reports whether the spec's instance would stand without the fence, or a
// part of it, among others. Nothing in the configuration promises it, so it is no error.
func (h Host) LacksFence(spec tenant.Spec) bool {
	return fenced(spec) && (!h.BindFence || !h.ConnectFence)
}

func listenAddress(spec tenant.Spec) string {
	switch spec.Listen {
	case tenant.ListenUnix:
		return "unix:" + spec.SocketPath
	case tenant.ListenFD:
		return "fd:" + spec.SocketPath
	default:
		return fmt.Sprintf("port:%d", spec.Port)
	}
}

// doctor is the hint of what a machine cannot do.
const doctor = "`ten doctor` shows what this machine can do"

// check compares what the spec asks for with what the machine can do.
func (h Host) check(spec tenant.Spec) error {
	unsupported := func(what, hint string) error {
		return &tenant.Error{Code: tenant.CodeUnsupported, Op: "load", ID: spec.ID, Msg: what, Hint: hint}
	}
	separate := spec.Isolation != tenant.IsolationProcess
	level := fmt.Sprintf("isolation = %q", spec.Isolation)
	if separate && !h.Namespaces {
		return unsupported(level+` does not take effect on this machine`, doctor+`; isolation = "process" needs no namespaces`)
	}
	if separate && h.User && !h.PrivatePIDs {
		return unsupported(level+` without root needs PrivatePIDs= (systemd 257 or newer)`, doctor+`; or run ten serve as root`)
	}
	if spec.Isolation == tenant.IsolationSandbox {
		switch {
		case h.Runsc == "":
			return unsupported(level+" needs gVisor's runsc, which is not installed", RunscHint)
		case !h.PrivatePIDs:
			return unsupported(level+` needs PrivatePIDs= (systemd 257 or newer)`, doctor)
		case !h.Sandbox:
			return unsupported(level+` does not take effect on this machine`, doctor)
		}
	}
	if h.User && spec.User != "" {
		return unsupported(fmt.Sprintf("user = %q needs root", spec.User), "run ten serve as root, or leave user out")
	}
	if spec.Network == tenant.NetworkPrivate && !h.PrivateNetwork {
		return unsupported(`network = "private" does not take effect on this machine`, doctor)
	}
	if err := h.CheckLimits(spec.ID, spec.Limits); err != nil {
		return err
	}
	for _, path := range append([]string{spec.WorkDir, spec.DataDir}, spec.BindReadOnlyPaths...) {
		if strings.ContainsAny(path, ":\n") {
			return unsupported(fmt.Sprintf("path %q has a character that units cannot express", path), "choose a path without colons and line breaks")
		}
	}
	if separate && h.hides(spec, spec.Argv[0]) {
		return unsupported(fmt.Sprintf(`%s hides the program %s from the instance`, level, spec.Argv[0]),
			`put its directory into bind_read_only_paths, install it elsewhere, or use isolation = "process"`)
	}
	return nil
}

func usec(d time.Duration) uint64 { return uint64(d.Microseconds()) }
