package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

// Config is a valid configuration. It is shared and must not be changed.
type Config struct {
	// Path is the absolute path of the file and Dir its directory, to which relative
	// paths in the file are relative.
	Path, Dir string
	// Sum is the SHA-256 of the file's text, in hexadecimal.
	Sum      string
	Settings Settings
	// Services has the services by name.
	Services map[string]*Service
	// Instances are those that shall exist from the start, in file order.
	Instances []tenant.ID

	// searchPath is PATH for services that do not set it.
	searchPath string
}

// ByMemory is a number that nobody has set and that follows from the machine's memory.
const ByMemory = -1

// Settings is the table [settings].
type Settings struct {
	// DataDir is the absolute path of the directory that holds all instances' data.
	DataDir string
	// Domains are the base domains, the one that people are told first; empty where the
	// file has none. They are in lower case and have no trailing dot.
	Domains []string
	// Armed is how many of the most recently used sleepers have their sandbox ready,
	// ByMemory for as many as suit the machine's memory.
	Armed int
	// Doorbells is how many of the most recent sleepers keep their doorbell.
	Doorbells int
	// HealthCheckInterval is the time between two checks of an awake instance.
	HealthCheckInterval time.Duration
	// After more than MaxRestarts failures within RestartWindow, at its start or later,
	// an instance is failed and no longer started.
	MaxRestarts   int
	RestartWindow time.Duration
	// BackoffBase is the wait after the second failure within the window, doubled for
	// each further one up to BackoffMax.
	BackoffBase, BackoffMax time.Duration
	// PortMin to PortMax, both included, are given to instances with ListenPort.
	PortMin, PortMax int
	// TrustedProxies are the addresses of proxies in front, whose X-Forwarded-* headers
	// are believed.
	TrustedProxies []netip.Prefix
	// Public is how people reach instances where a proxy is in front.
	Public Public
	// FastPath is whether requests may be served past net/http and its reverse proxy.
	FastPath bool
	// ProxyProtocol is whether they may tell a client's address by the PROXY protocol.
	ProxyProtocol bool
	TLS           TLS
	// WakeConcurrency is how many instances may start at a time, 0 for twice the
	// number of processors.
	WakeConcurrency int
	// MaxWaiting is how many requests may wait for instances to wake.
	MaxWaiting int
	// APIListen is the TCP address, HOST:PORT, at which the management API is served to
	// who has a token; empty for none. APIDomain: it is also served at the base domain.
	APIListen string
	APIDomain bool
	// VerifyDomains is whether each host name that is given to an instance is pending until
	// its DNS record is there.
	VerifyDomains bool
	// DNSResolver is the IP address and port of the DNS server that is asked for these;
	// empty for the system's.
	DNSResolver string
	// Dashboard is whether the dashboard is served wherever those two serve the API.
	Dashboard bool
	// MetricsListen is where metrics are served beside the API's socket, an address of
	// the loopback with a port; empty for nowhere.
	MetricsListen string
	// MetricsPerInstance is whether instances have series of their own, and
	// MetricsMaxInstances how many do.
	MetricsPerInstance  bool
	MetricsMaxInstances int
}

// Public is the part of a URL that instances have in common beside their domain. The zero value is that of the daemon's own
// listeners.
type Public struct {
	Scheme string // "http" or "https"
	Port   int
}

// Trusts reports whether addr is that of a trusted proxy.
func (s *Settings) Trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// Service is a table [service.NAME]. Strings with placeholders are as they are
// written; Config.Spec fills them in.
type Service struct {
	Name string
	// Command is the command's words followed by args.
	Command []string
	// Env is what the service adds to an app's environment.
	Env map[string]string
	// Workdir may be relative to the directory of the file; empty means that one.
	Workdir string
	// Release is the one to begin with, for {release}; rollouts give instances others.
	// It is empty where nothing uses it.
	Release string
	// Health is the path, maybe with a query, that answers 200 when an instance that
	// wakes can take requests; empty means that accepting a connection is enough.
	Health string
	// Restart says when an awake instance is started again whose app has ended.
	Restart   Restart
	Isolation tenant.Isolation
	Network   tenant.Network
	Listen    tenant.Listen
	// Socket is the app's socket for ListenUnix; empty means app.sock in the
	// instance's socket directory, to which relative ones are relative.
	Socket string
	// User is the account for IsolationProcess; empty means the daemon's own.
	User string
	// BindReadOnlyPaths are absolute.
	BindReadOnlyPaths []string

	// IdleTimeout is the idle time after which an instance is put to sleep, and
	// DozeTimeout the one after which it dozes; 0 is never.
	IdleTimeout, DozeTimeout time.Duration
	// KeepAwakeMax is how long an app may have itself kept awake at a time, 0 for not.
	KeepAwakeMax time.Duration
	// BusyMax is for how long the use of the CPU alone keeps an instance awake, 0 for
	// not.
	BusyMax time.Duration
	// Schedule are calendar times at which instances are woken (systemd.time(7),
	// "Calendar Events"). Nobody but LoadChecked has looked at what they mean.
	Schedule []string
	// SchedulePath is the path of the request that they get then, empty for none.
	SchedulePath string
	// StartupTimeout bounds the time from start to the first accepted connection.
	StartupTimeout time.Duration
	// RequestTimeout bounds the wait for a response's headers, 0 for no bound.
	RequestTimeout time.Duration
	// WaitingPage is how long somebody with a browser waits for a wake before they get a
	// page that says so, 0 for as long as it takes.
	WaitingPage time.Duration
	// StopGrace is the time between SIGTERM and SIGKILL.
	StopGrace time.Duration

	// Limits are those that the file sets; nil for none.
	Limits tenant.Limits
	// MaxInstances is how many instances there may be, 0 for no limit.
	MaxInstances int
	// MaxInFlight is how many requests an instance may have at a time.
	MaxInFlight int
	// NoWake are the kinds of request that do not wake an instance.
	NoWake tenant.Kinds

	// AccessLog is where requests are logged, AccessLogQuery whether with their query.
	AccessLog      AccessLog
	AccessLogQuery bool

	// ErrorPages is the absolute path of the directory with the service's own pages, empty
	// for none; Pages are those, nil for none.
	ErrorPages string
	Pages      *templates.Pages

	// OnDemand lets the first request for an unknown instance create it.
	OnDemand bool
	// KeepAlive is false where the app must get a new connection for each request.
	KeepAlive bool
	// ServiceHost is whether the service's own host name is answered by its instances.
	ServiceHost bool
	// Sticky keeps a client of the service's own host name at the instance that it was
	// given first, by a cookie.
	Sticky bool
	// StoragePersist is false where stopping an instance removes its data.
	StoragePersist bool
}

// Restart is when an instance is started again whose app ended although nobody had it
// stop. The names are those of systemd.service(5), Restart=.
type Restart string

// The policies.
const (
	// RestartOnFailure: when it ended with an error or a signal, or is unhealthy.
	RestartOnFailure Restart = "on-failure"
	// RestartAlways: also when it ended well.
	RestartAlways Restart = "always"
	// RestartNever: not at all; one that ended with an error has failed.
	RestartNever Restart = "never"
)

// standardPath is PATH for services that do not set it, as systemd has it for system
// units (systemd.exec(5), "Environment Variables in Spawned Processes"). The
// daemon's own PATH has no say: it differs between a shell and a unit.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// ErrNoFile is wrapped in Load's error where the file is missing or cannot be read.
var ErrNoFile = errors.New("no configuration file")

// Load reads the configuration file at path. The error is Faults, all at once, or a
// *tenant.Error that wraps ErrNoFile, with CodeNotFound where there is no such file and
// with CodeInvalid where it cannot be read.
func Load(path string) (*Config, error) { return LoadChecked(path, nil) }

// LoadChecked is Load, and has each calendar time looked at by calendar, whose error says
// for people what is wrong with it.
func LoadChecked(path string, calendar func(entry string) error) (*Config, error) {
	text, absolute, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, text, filepath.Dir(absolute), standardPath, calendar)
}

// readFile gives the text of the file and its absolute path.
func readFile(path string) (text []byte, absolute string, err error) {
	absolute, err = filepath.Abs(path)
	if err != nil {
		return nil, "", fmt.Errorf("load %s: %w", path, err)
	}
	text, err = os.ReadFile(absolute)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", &tenant.Error{
			Code: tenant.CodeNotFound,
			Op:   "load configuration",
			Msg:  fmt.Sprintf("there is no %s in %s", filepath.Base(absolute), filepath.Dir(absolute)),
			Hint: "`ten init` writes one; two lines are enough: [service.notes] and command = \"python3 app.py\"",
			Err:  errors.Join(ErrNoFile, err),
		}
	case errors.Is(err, syscall.EISDIR):
		return nil, "", &tenant.Error{
			Code: tenant.CodeInvalid,
			Op:   "load configuration",
			Msg:  fmt.Sprintf("%s is a directory", path),
			Hint: fmt.Sprintf("name the file in it: %s", filepath.Join(path, "tenement.toml")),
			Err:  errors.Join(ErrNoFile, err),
		}
	case err != nil:
		return nil, "", &tenant.Error{
			Code: tenant.CodeInvalid,
			Op:   "load configuration",
			Msg:  fmt.Sprintf("%s cannot be read: %v", path, errors.Unwrap(err)),
			Hint: "let the user that runs ten serve read it",
			Err:  errors.Join(ErrNoFile, err),
		}
	}
	return text, absolute, nil
}

// Parse makes a Config of text. The faults name the file as name; dir, an absolute
// path, is the directory that it is in. The error is Faults.
func Parse(name string, text []byte, dir string) (*Config, error) {
	return parse(name, text, dir, standardPath, nil)
}

// ParseUnseen is Parse, and looks at no file, directory or account that the text names:
// whether they are there, and what is in them, is for others to say. Error pages are not
// read.
func ParseUnseen(name string, text []byte, dir string) (*Config, error) {
	return (&decoder{unseen: true}).parse(name, text, dir, standardPath)
}

// DataDir gives the absolute path of the instance's own directory.
func (c *Config) DataDir(id tenant.ID) string {
	return filepath.Join(c.Settings.DataDir, id.Service, id.Name)
}
