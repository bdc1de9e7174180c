package lifecycle

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/admission"
	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Options is what a Manager needs.
type Options struct {
	Config     *config.Config
	Controller Controller
	Store      Store
	// Doorbell gives an instance's doorbell.
	Doorbell func(tenant.ID) Doorbell
	// SocketDir gives the directory for an instance's own socket.
	SocketDir func(tenant.ID) string
	// Resting is called before an instance dozes or stops, without a lock held:
	// connections that nobody uses should be closed then. It may be nil.
	Resting func(tenant.ID)
	// Refused is called, without a lock held, when an instance on trial did not start with
	// its release, and is about to be started with the one before. It may be nil.
	Refused func(id tenant.ID, release string, err error)
	// Reserved reports whether a host name may not be given to an instance; it may be nil.
	Reserved func(host string) bool
	// TXT gives the texts of the TXT records of a name, none where it has none; without it
	// no host name can be verified.
	TXT func(ctx context.Context, name string) ([]string, error)
	// CPU gives what an instance has had of the CPU since its start. Without it an
	// instance at work without a request is taken for idle.
	CPU func(tenant.ID) (CPUTime, error)
	// Use gives the same, and the memory that it has, in bytes, -1 where that is not known.
	Use func(tenant.ID) (cpu time.Duration, memory int64, err error)
	// Uses remembers what instances have used; without it nobody does.
	Uses UseStore
	// Schedules and Calendar are for services with a schedule; without them there is
	// none.
	Schedules Schedules
	Calendar  Calendar
	// Marks remembers who is armed; without it nobody is.
	Marks Marks
	// Memory tells when memory is short; nil where nobody can.
	Memory Memory
	// Idle gives the share, 0 to 1, of the processors' time that nobody has used since
	// it was called last; nil where nobody can tell.
	Idle func() float64
	// Boosts are the weights that the Controller loads boosted (tenant.Boosted), and that
	// the Manager sets to their ordinary value once an instance is awake.
	Boosts []tenant.Limit
	// Events is told of all that happens; it may be nil.
	Events *event.Bus
	// Observer counts what happens; it may be nil.
	Observer Observer
	Log      *slog.Logger
}

// Manager is the life of all instances. Make one with New; it works while Run runs.
type Manager struct {
	controller Controller
	store      Store
	doorbell   func(tenant.ID) Doorbell
	socketDir  func(tenant.ID) string
	resting    func(tenant.ID)
	refused    func(id tenant.ID, release string, err error)
	reserved   func(host string) bool
	txt        func(ctx context.Context, name string) ([]string, error)
	cpu        func(tenant.ID) (CPUTime, error)
	marks      Marks                                         // or nil
	use        func(tenant.ID) (time.Duration, int64, error) // or nil
	uses       UseStore                                      // or nil
	memory     Memory                                        // or nil
	boosts     []tenant.Limit
	events     *event.Bus
	common     *common
	observer   Observer
	log        *slog.Logger
	gate       *admission.Gate
	hall       *admission.Hall
	// starved says that a start waits for memory.
	starved chan struct{}
	copies  chan struct{} // places for copies of data
	config  atomic.Pointer[config.Config]
	// pauses is replaced, never changed; pausing is held while that is done, over the
	// registry's write.
	pauses  atomic.Pointer[map[tenant.ID]tenant.Pause]
	pausing sync.Mutex
	// secrets is likewise, by instance, and by service with an ID that has no name; hiding is
	// held over the write of the value and the registry's.
	secrets atomic.Pointer[map[tenant.ID][]tenant.Secret]
	hiding  sync.Mutex

	scheduler *scheduler // nil without schedules

	// ctx is Run's own context, for work that belongs to an instance and not to a
	// request; set before ready is closed.
	ctx         context.Context
	ready       chan struct{}
	tasks       taskGroup
	saving      chore
	reconciling chore
	changed     chan struct{}             // asks for a save
	arming      chan struct{}             // asks for a look at who is armed
	shortAt     atomic.Pointer[time.Time] // when memory was last short, nil for never
	pings       chan chan struct{}        // answered by Run's loop
	probes      chan struct{}             // places for health checks

	// naming is held while host names are given and taken away, over the registry's write.
	naming sync.Mutex

	// weighing is held while weights are changed, over the registry's write.
	weighing sync.Mutex

	// orderly: the daemon before has left in order; not changed after recover.
	orderly bool

	// metered is what the earlier daemon has counted, not changed after recover.
	metered map[tenant.ID]tenant.Metered
	// savingUse is held while use is saved, over the registry's write; usedOn is the day
	// of the latest save.
	savingUse sync.Mutex
	usedOn    string

	// mu guards what follows.
	mu        sync.RWMutex
	gone      []tenant.DailyUse // of instances that are, not saved yet
	instances map[tenant.ID]*instance
	// sorted has them all by ID. It is replaced, never changed; nil asks for a new one.
	sorted   []*instance
	domains  map[string]tenant.Domain // by host
	claims   map[claim]tenant.Domain  // that are pending
	releases map[string]string        // of services' new instances, where a rollout has set one
	services map[string][]*instance   // the instances of each
	ports    map[int]tenant.ID
	nextPort int
	copying  map[tenant.ID]bool // whose data is copied or replaced
	sleepers sleepers
	armed    map[*instance]bool
	// waking has those whose wake wants to know of hints.
	waking map[tenant.ID]*hints
}

// New makes a Manager that knows no instance yet.
func New(o Options) *Manager {
	m := &Manager{
		controller: o.Controller,
		store:      o.Store,
		doorbell:   o.Doorbell,
		socketDir:  o.SocketDir,
		resting:    o.Resting,
		refused:    o.Refused,
		reserved:   o.Reserved,
		txt:        o.TXT,
		cpu:        o.CPU,
		use:        o.Use,
		uses:       o.Uses,
		marks:      o.Marks,
		memory:     o.Memory,
		boosts:     o.Boosts,
		events:     o.Events,
		common:     &common{events: o.Events},
		observer:   o.Observer,
		log:        o.Log,
		hall:       admission.NewHall(o.Config.Settings.MaxWaiting),
		starved:    make(chan struct{}, 1),
		copies:     make(chan struct{}, maxCopies),
		copying:    map[tenant.ID]bool{},
		ready:      make(chan struct{}),
		instances:  map[tenant.ID]*instance{},
		domains:    map[string]tenant.Domain{},
		claims:     map[claim]tenant.Domain{},
		releases:   map[string]string{},
		services:   map[string][]*instance{},
		ports:      map[int]tenant.ID{},
		sleepers:   newSleepers(),
		armed:      map[*instance]bool{},
		waking:     map[tenant.ID]*hints{},

		saving:      newChore(),
		reconciling: newChore(),
		changed:     make(chan struct{}, 1),
		arming:      make(chan struct{}, 1),
		pings:       make(chan chan struct{}),
		probes:      make(chan struct{}, maxProbes),
	}
	if m.resting == nil {
		m.resting = func(tenant.ID) {}
	}
	if m.refused == nil {
		m.refused = func(tenant.ID, string, error) {}
	}
	if m.txt == nil {
		m.txt = noResolver
	}
	if m.observer == nil {
		m.observer = nobody{}
	}
	if m.reserved == nil {
		m.reserved = func(string) bool { return false }
	}
	if o.Schedules != nil && o.Calendar != nil {
		m.scheduler = newScheduler(m, o.Schedules, o.Calendar)
	}
	gate := admission.Options{Idle: o.Idle}
	if m.memory != nil {
		gate.Short = m.memoryShort
	}
	m.gate = admission.New(wakeConcurrency(o.Config.Settings), gate)
	m.config.Store(o.Config)
	m.pauses.Store(&map[tenant.ID]tenant.Pause{})
	m.secrets.Store(&map[tenant.ID][]tenant.Secret{})
	return m
}

// saveInterval is how often activity is written to the registry, and
// reconcileInterval how often everything is compared with the service manager.
const (
	saveInterval      = 5 * time.Second
	reconcileInterval = 30 * time.Second
)

// Run reads the registry, adopts what runs already, and works until ctx ends.
// Instances go on running after it.
func (m *Manager) Run(ctx context.Context) error {
	m.ctx = ctx
	if err := m.recover(ctx); err != nil {
		return err
	}
	m.tasks.do(func() { m.gate.Run(ctx) })
	if m.memory != nil {
		m.tasks.do(func() { m.relieve(ctx) })
	}
	added := map[tenant.ID]bool{}
	m.registerListed(m.Config().Instances, added) // before anybody can ask for one of them
	close(m.ready)
	listed := m.Config().Instances // SetConfig leaves them to us until here
	m.registerListed(listed, added)
	m.startListed(listed, added)
	if m.scheduler != nil {
		m.tasks.do(func() { m.scheduler.run(ctx) })
	}
	m.tasks.do(m.watchStorage)
	m.tasks.do(m.watchClaims)
	if m.uses != nil {
		m.tasks.do(m.meterAll)
	}
	if m.marks != nil {
		m.tasks.do(func() { m.keepArmed(ctx) })
	}

	reconcile := time.NewTicker(reconcileInterval)
	defer reconcile.Stop()
	save := time.NewTicker(saveInterval)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			m.tasks.close()
			// The context is over, but what was counted shall not be lost.
			saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), slack)
			defer cancel()
			if m.save(saving) == nil {
				if err := m.store.Leave(saving); err != nil {
					m.log.Error("registry not left in order", "err", err)
				}
			}
			if m.uses != nil {
				_, _ = m.Use(saving, tenant.UseQuery{}) // looks once more, and saves
			}
			return nil
		case hint := <-m.controller.Events():
			if hint.ID.IsZero() {
				m.reconciling.run(m, m.reconcile)
			} else {
				m.hint(hint)
			}
		case <-reconcile.C:
			m.reconciling.run(m, m.reconcile)
			m.armSoon()
		case <-save.C:
			m.saveSoon()
		case <-m.changed:
			m.saving.run(m, func(ctx context.Context) { _ = m.save(ctx) }) // logged, and tried again
		case pong := <-m.pings:
			close(pong)
		}
	}
}

// Ready is closed when Run has adopted what was running and requests are served
// without waiting for that.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// SetConfig makes cfg the configuration. Running instances go on as they are and get
// the new one with their next start; limits change at once where they can. Instances that
// have come to the list of those that shall exist are started.
func (m *Manager) SetConfig(cfg *config.Config) {
	old := m.config.Swap(cfg)
	if m.scheduler != nil {
		m.scheduler.reload()
	}
	m.gate.SetPlaces(wakeConcurrency(cfg.Settings))
	m.hall.SetSize(cfg.Settings.MaxWaiting)
	m.armSoon()
	for _, inst := range m.all() {
		inst.mu.Lock()
		if inst.state == tenant.Awake || inst.state == tenant.Dozing {
			m.watchIdleLocked(inst)
			m.tuneLocked(inst)
		}
		inst.mu.Unlock()
	}
	select {
	case <-m.ready:
	default:
		return // Run starts all that are on the list
	}
	listed := slices.DeleteFunc(slices.Clone(cfg.Instances), func(id tenant.ID) bool { return slices.Contains(old.Instances, id) })
	if len(listed) > 0 {
		m.log.Info("instances have come to the configuration, and are started", "count", len(listed))
		added := map[tenant.ID]bool{}
		m.registerListed(listed, added)
		m.startListed(listed, added)
	}
}

// Config is the present configuration.
func (m *Manager) Config() *config.Config { return m.config.Load() }

// service gives the configuration of an instance's service.
func (m *Manager) service(op string, id tenant.ID) (*config.Service, error) {
	return m.config.Load().Service(op, id)
}

// CheckService reports whether there is a service of that name; if not the error is a
// *tenant.Error that says which there are.
func (m *Manager) CheckService(name string) error {
	_, err := m.service("list", tenant.ID{Service: name})
	return err
}
