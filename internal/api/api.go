package api

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Instances tells of instances; *lifecycle.Manager has it.
type Instances interface {
	// Glance tells little of every instance, of which there may be very many, sorted by ID.
	Glance() iter.Seq2[tenant.ID, tenant.Glance]
	Get(id tenant.ID) (tenant.Snapshot, error)
	// Why tells why an instance is in its state.
	Why(id tenant.ID) (tenant.Why, error)
	// CheckService is an error where there is no service of that name.
	CheckService(name string) error
}

// Operator changes instances; *lifecycle.Manager has it. Errors for people are
// *tenant.Error.
type Operator interface {
	Spawn(ctx context.Context, id tenant.ID) (s tenant.Snapshot, created bool, err error)
	Wake(ctx context.Context, id tenant.ID) (tenant.Snapshot, error)
	Stop(ctx context.Context, id tenant.ID) (tenant.Snapshot, error)
	Restart(ctx context.Context, id tenant.ID) (tenant.Snapshot, error)
	Destroy(ctx context.Context, id tenant.ID) error
}

// Router says which instances get the requests for a service's own host name;
// *lifecycle.Manager has it. Errors for people are *tenant.Error.
type Router interface {
	SetWeight(ctx context.Context, id tenant.ID, w tenant.Weight) (tenant.Snapshot, error)
	// Swap moves the requests from one instance to another, at once.
	Swap(ctx context.Context, from, to tenant.ID) (tenant.Snapshot, error)
	// Deploy has an instance ready before it gets its weight.
	Deploy(ctx context.Context, id tenant.ID, w tenant.Weight, timeout time.Duration) (s tenant.Snapshot, created bool, err error)
}

// Domains gives instances host names; *lifecycle.Manager has it. Errors for people are
// *tenant.Error.
type Domains interface {
	// Domains lists the host names, also those that are pending, sorted.
	Domains() []tenant.Domain
	AddDomain(ctx context.Context, host string, id tenant.ID, verify bool) (d tenant.Domain, added bool, err error)
	// VerifyDomain looks for the record of one that is pending, and lists that host name's.
	VerifyDomain(ctx context.Context, host string) ([]tenant.Domain, error)
	RemoveDomain(ctx context.Context, host string) error
}

// Rollouts give the instances of services other releases; *rollout.Engine has it. Errors
// for people are *tenant.Error.
type Rollouts interface {
	Begin(ctx context.Context, service, release string, plan tenant.RolloutPlan) (tenant.Rollout, error)
	// Order does what an operator orders: "pause", "resume", "abort" or "rollback".
	Order(ctx context.Context, service, order string) (tenant.Rollout, error)
	Status(ctx context.Context, service string) (tenant.Rollout, error)
	// Follow gives the events from one on, and the number of the next; it waits until there
	// are some, or the rollout is over.
	Follow(ctx context.Context, service string, from int) (list []tenant.RolloutEvent, next int, r tenant.Rollout, err error)
}

// Keeper keeps instances awake; *lifecycle.Manager has it.
type Keeper interface {
	// Doze freezes an awake instance now.
	Doze(ctx context.Context, id tenant.ID) (tenant.Snapshot, error)
	// KeepAwake has an instance awake and keeps it so for d; with 0 whatever lease there
	// is on it ends.
	KeepAwake(ctx context.Context, id tenant.ID, d time.Duration) (tenant.Snapshot, error)
}

// Pauser answers requests without instances; *lifecycle.Manager has it. An ID without a
// name is a whole service. Errors for people are *tenant.Error.
type Pauser interface {
	Pause(ctx context.Context, id tenant.ID, message string, d time.Duration) (tenant.Pause, error)
	Unpause(ctx context.Context, id tenant.ID) (was bool, err error)
}

// Logs reads what instances print.
type Logs interface {
	// Read gives the entries that q asks for, oldest first. An error comes at the end,
	// with an empty entry.
	Read(ctx context.Context, q LogQuery) iter.Seq2[wire.LogEntry, error]
}

// LogQuery says which entries to read.
type LogQuery struct {
	// Unit is the instance's service unit. Where it is empty, all instances' are meant,
	// or all of Service.
	Unit, Service string
	// Units are those of all instances that are meant, nil for all of them.
	Units []string
	// Events asks, instead, for what Tenement did: with Instance, or all of Service, or
	// everything.
	Events   bool
	Instance tenant.ID
	// Tenant is whose instances are meant then, empty for everybody's; what others than Viewer
	// did is told without who they are.
	Tenant string
	Viewer tenant.Actor
	// Lines is how many stored entries to give at most, the newest of those that fit, or
	// the first with After; negative is all.
	Lines int
	// Since and Until bound the entries' time, both inclusive; zero is no bound.
	Since, Until time.Time
	// Level leaves out less urgent entries.
	Level tenant.Level
	// Search is a text in the message, whatever the case of its letters; Grep is what the
	// message matches, unless it is nil.
	Search string
	Grep   *regexp.Regexp
	// After and Before are the cursors of entries: only what is newer, or older, counts.
	After, Before string
	// Follow waits for new entries until the context ends.
	Follow bool
}

// Options is what an API needs.
type Options struct {
	Instances Instances
	Operator  Operator
	Router    Router
	Domains   Domains
	Keeper    Keeper
	Limiter   Limiter
	Rollouts  Rollouts
	Uses      Uses
	Pauser    Pauser
	Secrets   Secrets
	Backups   Backups
	Logs      Logs
	// Doctor says what this machine can and cannot do.
	Doctor func(ctx context.Context) ([]wire.Check, error)
	Tokens Tokens
	// Events is what GET /events follows, and is told who has changed what.
	Events *event.Bus
	// Group is the group of this machine whose members are admins, 0 for none.
	Group int
	// ClientAddr gives the address that a request comes from, where it is not that of its
	// connection; it may be nil.
	ClientAddr func(*http.Request) netip.Addr
	// Reload reads the configuration again and gives its path, and the instances whose service it
	// does not have.
	Reload func(ctx context.Context) (path string, unserved []string, err error)
	// URL gives where an instance answers; it may be nil.
	URL func(tenant.ID) string
	// Services tells of the configured services, sorted by name; who asks counts their
	// instances. It may be nil.
	Services func() []wire.Service
	Version  wire.Version
	// Metrics serves what is counted, at MetricsPath.
	Metrics http.Handler
	Log     *slog.Logger
}

// API is the handler of the daemon's API. Its connections must have been through
// ConnContext; NewServer sees to that.
type API struct {
	instances Instances
	operator  Operator
	router    Router
	domains   Domains
	keeper    Keeper
	limiter   Limiter
	rollouts  Rollouts
	uses      Uses
	pauser    Pauser
	secrets   Secrets
	backups   Backups
	logs      Logs
	doctor    func(ctx context.Context) ([]wire.Check, error)
	reload    func(ctx context.Context) (string, []string, error)
	url       func(tenant.ID) string
	version   wire.Version
	services  func() []wire.Service
	metrics   http.Handler
	log       *slog.Logger
	tokens    Tokens
	events    *event.Bus
	uid       int // the daemon's own
	group     int
	mux       *http.ServeMux

	// logPlaces has a place for each log that is being read, tenantPlaces for those of
	// tenants.
	logPlaces, tenantPlaces chan struct{}

	open       streams
	clientAddr func(*http.Request) netip.Addr

	// streaming ends when there are to be no streams any more.
	streaming  context.Context
	endStreams context.CancelFunc
}

// New makes an API.
func New(o Options) *API {
	a := &API{
		instances: o.Instances,
		operator:  o.Operator,
		router:    o.Router,
		domains:   o.Domains,
		keeper:    o.Keeper,
		limiter:   o.Limiter,
		rollouts:  o.Rollouts,
		uses:      o.Uses,
		pauser:    o.Pauser,
		secrets:   o.Secrets,
		backups:   o.Backups,
		logs:      o.Logs,
		doctor:    o.Doctor,
		reload:    o.Reload,
		url:       o.URL,
		version:   o.Version,
		services:  o.Services,
		metrics:   o.Metrics,
		log:       o.Log,
		tokens:    o.Tokens,
		events:    o.Events,
		uid:       os.Getuid(),
		logPlaces: make(chan struct{}, maxLogs),
		group:     o.Group,

		clientAddr:   o.ClientAddr,
		tenantPlaces: make(chan struct{}, maxTenantLogs),
	}
	if a.clientAddr == nil {
		a.clientAddr = peerAddr
	}
	if a.url == nil {
		a.url = func(tenant.ID) string { return "" }
	}
	a.streaming, a.endStreams = context.WithCancel(context.Background())
	a.mux = a.newMux()
	return a
}

// EndStreams ends what follows logs and events, now and from now on.
func (a *API) EndStreams() { a.endStreams() }

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

const (
	// headerTimeout bounds the wait for a request's headers, bodyTimeout for its body.
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	// idleTimeout is how long a connection may be kept open unused.
	idleTimeout = time.Minute
)

// NewServer makes a server of a for one listener. When it is shut down the streams of
// logs end at once, and other requests may still be answered.
func NewServer(a *API) *http.Server {
	server := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       ConnContext,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(a.endStreams)
	return server
}
