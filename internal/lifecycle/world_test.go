package lifecycle_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(doorbellVariable); path != "" {
		fmt.Fprintln(os.Stderr, answerDoorbell(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// alice and bob are the instances that most tests are about.
var (
	alice = tenant.ID{Service: "notes", Name: "alice"}
	bob   = tenant.ID{Service: "notes", Name: "bob"}
)

// notes is a configuration with the service notes; more is added to its table.
func notes(more string) string {
	return "[settings]\ndata_dir = \"/nonexistent/data\"\n[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\n" + more
}

// world is a Manager over an in-memory service manager.
type world struct {
	t       *testing.T
	systemd *lifecycletest.Systemd
	store   *store
	cpu     *cpus
	zone    *zone
	// calendar stands for systemd-analyze, which has no place in a bubble.
	calendar *calendar
	manager  *lifecycle.Manager
	stop     func() // ends the manager and waits for it
	// For the next manager: nil, or what the machine has.
	memory lifecycle.Memory
	idle   func() float64
	boosts []tenant.Limit
	uses   lifecycle.UseStore
	// resident is the memory that a running instance has, nil for 1 GiB.
	resident func(tenant.ID) int64
	marks    lifecycle.Marks
	log      io.Writer // nil for the test's own
	killed   bool      // the manager may be ended before it is ready
	// events has what all managers have told.
	events *event.Bus

	mu      sync.Mutex
	refusal []string
}

// bubble runs f in a bubble, whose clock is the test's: no goroutine may be left at
// its end.
func bubble(t *testing.T, text string, f func(t *testing.T, w *world)) {
	t.Helper()
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(parse(t, text))
		<-w.manager.Ready()
		f(t, w)
	})
}

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("tenement.toml", []byte(text), "/")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, systemd: lifecycletest.New(), store: newStore(), cpu: &cpus{}, zone: &zone{}, calendar: &calendar{}, stop: func() {}, events: event.NewBus(event.Kept)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.systemd.Run(ctx) })
	t.Cleanup(func() {
		w.stop()
		cancel()
		wg.Wait()
	})
	return w
}

// start starts a Manager, as a daemon that starts does.
func (w *world) start(cfg *config.Config) {
	w.t.Helper()
	log := w.log
	if log == nil {
		log = w.t.Output()
	}
	w.manager = lifecycle.New(lifecycle.Options{
		Config:     cfg,
		Controller: w.systemd,
		Store:      w.store,
		Doorbell:   w.systemd.Doorbell,
		Boosts:     w.boosts,
		SocketDir:  func(id tenant.ID) string { return "/run/tenement/app/" + id.Service + "@" + id.Name },
		TXT:        w.zone.texts,
		CPU:        w.cpu.time,
		Use: func(id tenant.ID) (time.Duration, int64, error) {
			cpu, err := w.cpu.used(id)
			if w.resident != nil {
				return cpu, w.resident(id), err
			}
			return cpu, 1 << 30, err
		},
		Uses:      w.uses,
		Schedules: w.store,
		Calendar:  w.calendar.next,
		Refused:   w.refused,
		Marks:     w.marks,
		Memory:    w.memory,
		Idle:      w.idle,
		Events:    w.events,
		Log:       slog.New(slog.NewTextHandler(log, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	m := w.manager
	go func() { done <- m.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !w.killed {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// restart ends the Manager and starts another over the same machine.
func (w *world) restart(cfg *config.Config) {
	w.t.Helper()
	w.stop()
	w.start(cfg)
	<-w.manager.Ready()
}

// register makes an instance known that has never been awake.
func (w *world) register(ids ...tenant.ID) {
	w.t.Helper()
	for _, id := range ids {
		if _, _, err := w.manager.Spawn(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.manager.Stop(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
	}
}

// spawn registers an instance and wakes it.
func (w *world) spawn(ids ...tenant.ID) {
	w.t.Helper()
	for _, id := range ids {
		if _, _, err := w.manager.Spawn(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
	}
}

// acquire begins a request.
func (w *world) acquire(id tenant.ID) (tenant.Endpoint, func()) {
	w.t.Helper()
	e, release, err := w.manager.Acquire(w.t.Context(), id, tenant.Visit{})
	if err != nil {
		w.t.Fatal(err)
	}
	return e, release
}

// request makes one whole request and gives the number of the run that answered.
func (w *world) request(id tenant.ID) (run string, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	e, release, err := w.manager.Acquire(ctx, id, tenant.Visit{})
	if err != nil {
		return "", err
	}
	defer release()
	return exchange(ctx, e)
}

// exchange makes a request on a new connection.
func exchange(ctx context.Context, e tenant.Endpoint) (string, error) {
	conn, err := e.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", fmt.Errorf("write request: %w", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", fmt.Errorf("read response: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d, %w", resp.StatusCode, err)
	}
	return string(body), nil
}

// served makes a request that must be answered by the given run.
func (w *world) served(id tenant.ID, run int) {
	w.t.Helper()
	got, err := w.request(id)
	if err != nil || got != fmt.Sprint(run) {
		w.t.Fatalf("request for %s: got run %q, %v, want run %d", id, got, err, run)
	}
}

// releaseOf gives an instance's release.
func (w *world) releaseOf(id tenant.ID) (r tenant.Released, ok bool) {
	for _, r := range w.manager.Releases(id.Service) {
		if r.ID == id {
			return r, true
		}
	}
	return r, false
}

// state waits until nothing moves any more and checks the instance's state.
func (w *world) state(id tenant.ID, want tenant.State) tenant.Snapshot {
	w.t.Helper()
	synctest.Wait()
	s, err := w.manager.Get(id)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.State != want {
		w.t.Fatalf("%s: got state %v (%s), want %v", id, s.State, s.Reason, want)
	}
	if why, err := w.manager.Why(id); err != nil || !reflect.DeepEqual(why.Snapshot, s) {
		w.t.Errorf("%s: Why tells %+v, %v, and Get %+v", id, why.Snapshot, err, s)
	}
	return s
}

// active checks what the service manager says.
func (w *world) active(id tenant.ID, want string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.systemd.Active(id); got != want {
		w.t.Fatalf("%s: got ActiveState %q, want %q", id, got, want)
	}
}

func (w *world) starts(id tenant.ID, want int) {
	w.t.Helper()
	if got := w.systemd.Starts(id); got != want {
		w.t.Fatalf("%s: got %d starts, want %d", id, got, want)
	}
}

func code(t *testing.T, err error, want tenant.Code) {
	t.Helper()
	if got := tenant.CodeOf(err); got != want {
		t.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

// since checks how long something took.
func since(t *testing.T, begun time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(begun); got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// store is the registry in memory, with the promises of package registry.
type store struct {
	mu      sync.Mutex
	lims    map[tenant.ID]registry.Limited
	rows    map[tenant.ID]registry.Instance
	weights map[tenant.ID]tenant.Weight
	domains map[string]tenant.Domain
	claims  []tenant.Domain
	brakes  map[tenant.ID]registry.Brake
	pauses  map[tenant.ID]tenant.Pause
	secrets map[tenant.ID][]tenant.Secret
	fault   map[string]error // by operation, for its next call
	orderly bool             // the latest daemon has left so
	dead    bool             // all calls fail, as of one that is killed
	latency time.Duration    // of AddDomain
	removed func()           // called after Remove
	scheduled
	releases        map[tenant.ID]registry.Release
	serviceReleases map[string]string
}

func newStore() *store {
	return &store{
		rows: map[tenant.ID]registry.Instance{}, weights: map[tenant.ID]tenant.Weight{}, brakes: map[tenant.ID]registry.Brake{},
		lims: map[tenant.ID]registry.Limited{}, domains: map[string]tenant.Domain{}, pauses: map[tenant.ID]tenant.Pause{}, secrets: map[tenant.ID][]tenant.Secret{}, fault: map[string]error{},
		releases: map[tenant.ID]registry.Release{}, serviceReleases: map[string]string{},
	}
}

func (s *store) fail(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault[op] = err
}

// kill has all calls fail, or no more.
func (s *store) kill(dead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = dead
}

// mend has no call fail any more.
func (s *store) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fault)
}

// slow has AddDomain take so long.
func (s *store) slow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

func (s *store) faultLocked(ctx context.Context, op string) error {
	err := s.fault[op]
	delete(s.fault, op)
	if s.dead {
		err = cmp.Or(err, errors.New("the daemon is killed"))
	}
	return cmp.Or(err, ctx.Err())
}

func (s *store) Instances(ctx context.Context) ([]registry.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []registry.Instance
	for _, row := range s.rows {
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b registry.Instance) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return list, s.faultLocked(ctx, "instances")
}

func (s *store) Add(ctx context.Context, in registry.Instance) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "add"); err != nil {
		return false, err
	}
	if _, ok := s.rows[in.ID]; ok {
		return false, nil
	}
	s.rows[in.ID] = in
	return true, nil
}

func (s *store) Remove(ctx context.Context, id tenant.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "remove"); err != nil {
		return err
	}
	delete(s.rows, id)
	delete(s.brakes, id)
	delete(s.weights, id)
	maps.DeleteFunc(s.domains, func(_ string, d tenant.Domain) bool { return d.ID == id })
	s.dropClaimsLocked(func(c tenant.Domain) bool { return c.ID == id })
	delete(s.lims, id)
	delete(s.pauses, id)
	delete(s.secrets, id)
	delete(s.releases, id)
	if then := s.removed; then != nil {
		s.mu.Unlock()
		defer s.mu.Lock()
		then()
	}
	return nil
}

func (s *store) Pauses(ctx context.Context) (map[tenant.ID]tenant.Pause, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.pauses), s.faultLocked(ctx, "pauses")
}

func (s *store) SetPause(ctx context.Context, id tenant.ID, p tenant.Pause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "setpause"); err != nil {
		return err
	}
	if _, ok := s.rows[id]; !ok && id.Name != "" {
		return &tenant.Error{Code: tenant.CodeNotFound, Op: "pause", ID: id, Msg: id.String() + " is not registered", Hint: "none"}
	}
	s.pauses[id] = p
	return nil
}

func (s *store) Secrets(ctx context.Context) (map[tenant.ID][]tenant.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.secrets), s.faultLocked(ctx, "secrets")
}

func (s *store) SetSecret(ctx context.Context, id tenant.ID, secret tenant.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "setsecret"); err != nil {
		return err
	}
	s.dropSecretLocked(id, secret.Name)
	s.secrets[id] = append(s.secrets[id], secret)
	return nil
}

func (s *store) RemoveSecret(ctx context.Context, id tenant.ID, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropSecretLocked(id, name)
	return s.faultLocked(ctx, "removesecret")
}

func (s *store) dropSecretLocked(id tenant.ID, name string) {
	s.secrets[id] = slices.DeleteFunc(slices.Clone(s.secrets[id]), func(old tenant.Secret) bool { return old.Name == name })
}

func (s *store) RemovePause(ctx context.Context, id tenant.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pauses, id)
	return s.faultLocked(ctx, "removepause")
}

func (s *store) Domains(ctx context.Context) ([]tenant.Domain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.domains)), s.faultLocked(ctx, "domains")
}

func (s *store) AddDomain(ctx context.Context, d tenant.Domain) error {
	s.mu.Lock()
	latency := s.latency
	s.mu.Unlock()
	time.Sleep(latency) // the bubble's time
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "adddomain"); err != nil {
		return err
	}
	if _, ok := s.domains[d.Host]; ok {
		return &tenant.Error{Code: tenant.CodeConflict, Op: "add domain to", ID: d.ID, Msg: "belongs to an instance already"}
	}
	s.domains[d.Host] = d
	s.dropClaimsLocked(func(c tenant.Domain) bool { return c.Host == d.Host })
	return nil
}

func (s *store) dropClaimsLocked(which func(tenant.Domain) bool) {
	s.claims = slices.DeleteFunc(s.claims, which)
}

func (s *store) Claims(ctx context.Context) ([]tenant.Domain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.claims), s.faultLocked(ctx, "claims")
}

func (s *store) AddClaim(ctx context.Context, d tenant.Domain) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "addclaim"); err != nil {
		return err
	}
	if _, ok := s.domains[d.Host]; ok {
		return &tenant.Error{Code: tenant.CodeConflict, Op: "add domain to", ID: d.ID, Msg: "belongs to an instance already"}
	}
	s.claims = append(s.claims, d)
	return nil
}

func (s *store) VerifyDomain(ctx context.Context, d tenant.Domain) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "verifydomain"); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.claims, func(c tenant.Domain) bool { return c.Host == d.Host && c.ID == d.ID }) {
		return &tenant.Error{Code: tenant.CodeNotFound, Op: "verify domain of", ID: d.ID, Msg: "does not wait for it"}
	}
	s.domains[d.Host] = d
	s.dropClaimsLocked(func(c tenant.Domain) bool { return c.Host == d.Host })
	return nil
}

func (s *store) RemoveDomain(ctx context.Context, host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.domains, host)
	s.dropClaimsLocked(func(c tenant.Domain) bool { return c.Host == host })
	return s.faultLocked(ctx, "removedomain")
}

func (s *store) Weights(ctx context.Context) (map[tenant.ID]tenant.Weight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.weights), s.faultLocked(ctx, "weights")
}

func (s *store) SetWeights(ctx context.Context, weights map[tenant.ID]tenant.Weight) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "setweights"); err != nil {
		return err
	}
	maps.Copy(s.weights, weights)
	return nil
}

func (s *store) Limits(ctx context.Context) ([]registry.Limited, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.lims)), s.faultLocked(ctx, "limits")
}

func (s *store) SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error {
	return s.setLimited(ctx, "setlimits", id, func(l *registry.Limited) { l.Limits = limits })
}

func (s *store) SetStorage(ctx context.Context, id tenant.ID, bytes int64) error {
	return s.setLimited(ctx, "setstorage", id, func(l *registry.Limited) { l.Storage = bytes })
}

func (s *store) setLimited(ctx context.Context, op string, id tenant.ID, set func(*registry.Limited)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, op); err != nil {
		return err
	}
	if _, ok := s.rows[id]; !ok {
		return &tenant.Error{Code: tenant.CodeNotFound, Op: "limit", ID: id, Msg: "there is no such instance"}
	}
	l := s.lims[id]
	l.ID = id
	set(&l)
	s.lims[id] = l
	return nil
}

func (s *store) SetPort(ctx context.Context, id tenant.ID, port int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "setport"); err != nil {
		return err
	}
	row, ok := s.rows[id]
	if !ok {
		return &tenant.Error{Code: tenant.CodeNotFound, Op: "set port of", ID: id, Msg: "there is no such instance"}
	}
	for other, r := range s.rows {
		if port != 0 && other != id && r.Port == port {
			return &tenant.Error{Code: tenant.CodeConflict, Op: "set port of", ID: id, Msg: "port belongs to another instance"}
		}
	}
	row.Port = port
	s.rows[id] = row
	return nil
}

func (s *store) SaveActivity(ctx context.Context, list []registry.Instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "save"); err != nil {
		return err
	}
	for _, in := range list {
		if row, ok := s.rows[in.ID]; ok {
			row.LastActive, row.Wakes, row.Thaws = in.LastActive, in.Wakes, in.Thaws
			row.AppLease, row.OperatorLease = in.AppLease, in.OperatorLease
			row.RestsSince, row.Rested, row.Reason = in.RestsSince, in.Rested, in.Reason
			row.Runs, row.RunsSince, row.Process = in.Runs, in.RunsSince, in.Process
			row.WokenBy, row.WokenAt, row.LastWake = in.WokenBy, in.WokenAt, in.LastWake
			s.rows[in.ID] = row
		}
	}
	return nil
}

func (s *store) TakeOver(ctx context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	orderly := s.orderly
	s.orderly = false
	return orderly, s.faultLocked(ctx, "takeover")
}

func (s *store) Leave(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "leave"); err != nil {
		return err
	}
	s.orderly = true
	return nil
}

func (s *store) Brakes(ctx context.Context) (map[tenant.ID]registry.Brake, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.brakes), s.faultLocked(ctx, "brakes")
}

func (s *store) SetBrake(ctx context.Context, id tenant.ID, b registry.Brake) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "setbrake"); err != nil {
		return err
	}
	if _, ok := s.rows[id]; ok {
		s.brakes[id] = b
	}
	return nil
}

func (s *store) row(id tenant.ID) (registry.Instance, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.rows[id]
	return row, ok
}

// shortly is a context that ends in a tenth of a second.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
