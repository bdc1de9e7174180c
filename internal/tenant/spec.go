package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Isolation is how far an instance is separated from the rest of the machine.
type Isolation string

// The isolation levels.
const (
	// IsolationProcess gives an instance its own cgroup and limits, nothing else.
	IsolationProcess Isolation = "process"
	// IsolationNamespace adds its own uid (where the manager is the system's), PID,
	// mount and IPC namespaces, a read-only system and a system call filter.
	IsolationNamespace Isolation = "namespace"
	// IsolationSandbox adds a kernel of its own, gVisor's, between the app and the
	// machine's. Its network is always NetworkPrivate.
	IsolationSandbox Isolation = "sandbox"
)

// Network is which network an instance sees.
type Network string

// The network modes.
const (
	// NetworkHost shares the machine's network; the instance gets a port of its own.
	NetworkHost Network = "host"
	// NetworkPrivate gives the instance a network namespace with a loopback only.
	NetworkPrivate Network = "private"
)

// Listen is how an app is told where to accept connections.
type Listen string

// The listen modes.
const (
	// ListenPort: the app listens on TCP port $PORT of the loopback.
	ListenPort Listen = "port"
	// ListenUnix: the app listens on the Unix socket $SOCKET_PATH.
	ListenUnix Listen = "unix"
	// ListenFD: the app accepts on descriptor 3, as in sd_listen_fds(3).
	ListenFD Listen = "fd"
)

// Spec is everything needed to run one instance, with nothing left to look up:
// every path absolute, every placeholder filled in.
type Spec struct {
	ID ID
	// Release is the one that is filled in, empty where the service has none.
	Release string

	// Argv is the app's command; Argv[0] is the absolute path of the program.
	Argv []string
	// Env is the app's whole environment as KEY=VALUE.
	Env     []string
	WorkDir string
	// DataDir is the instance's own directory, its HOME and, from
	// IsolationNamespace on, the only place that it may write to.
	DataDir string
	// DataRoot is the directory that holds all instances' data; from
	// IsolationNamespace on an instance sees of it only its DataDir.
	DataRoot string

	Isolation Isolation
	Network   Network
	Listen    Listen
	// Port is the TCP port for ListenPort, else 0.
	Port int
	// SocketPath is the app's Unix socket for ListenUnix and ListenFD, else empty. Its
	// directory belongs to the instance.
	SocketPath string

	// User is the account to run as under IsolationProcess; empty means the
	// daemon's own.
	User string
	// BindReadOnlyPaths are paths that stay visible, read-only, although the
	// isolation level would hide the directory they lie in.
	BindReadOnlyPaths []string

	// Limits are those that are set for the instance, by whomever.
	Limits Limits
	// Secrets are what the instance gets as credentials, sorted by name.
	Secrets []SecretRef `json:",omitempty"`

	// StartupTimeout bounds the time from start to the first accepted connection.
	StartupTimeout time.Duration
	// StopGrace is the time between SIGTERM and SIGKILL.
	StopGrace time.Duration
}

// Fingerprint identifies the content of s: two specs with the same fingerprint make
// the same units.
func (s Spec) Fingerprint() string {
	// Marshalling strings, numbers and maps of them, which are sorted, cannot fail.
	text, _ := json.Marshal(s)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
