package auth

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Store keeps tokens; *registry.Registry is one.
type Store interface {
	Tokens(ctx context.Context) ([]tenant.Token, error)
	AddToken(ctx context.Context, t tenant.Token) error
	RemoveToken(ctx context.Context, id string) error
	SaveTokenUse(ctx context.Context, used map[string]time.Time) error
}

// saveInterval is how often it is written when tokens were last used.
const saveInterval = time.Minute

// maxTokens bounds how many there may be.
const maxTokens = 10_000

// Tokens are those that are good, and those that have expired. Make them with Load.
type Tokens struct {
	store  Store
	events *event.Bus
	log    *slog.Logger

	failures Limiter

	// changing is held over a write to the store; it comes before mu.
	changing sync.Mutex
	mu       sync.Mutex // guards what follows
	byHash   map[[32]byte]*entry
}

// entry is one token.
type entry struct {
	token tenant.Token
	dirty bool // Used is not written yet
	// live ends when the token is revoked.
	live context.Context
	end  context.CancelFunc
}

func newEntry(token tenant.Token) *entry {
	e := &entry{token: token}
	e.live, e.end = context.WithCancel(context.Background())
	return e
}

// Load reads the tokens from store. events, which may be nil, is told of changes.
func Load(ctx context.Context, store Store, events *event.Bus, log *slog.Logger) (*Tokens, error) {
	list, err := store.Tokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("load tokens: %w", err)
	}
	t := &Tokens{store: store, events: events, log: log, byHash: make(map[[32]byte]*entry, len(list))}
	for _, token := range list {
		t.byHash[token.Hash] = newEntry(token)
	}
	return t, nil
}

// Run writes now and then when tokens were last used, until ctx ends.
func (t *Tokens) Run(ctx context.Context) error {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			t.save(last)
			return nil
		case <-tick.C:
			t.save(ctx)
		}
	}
}

func (t *Tokens) save(ctx context.Context) {
	used := map[string]time.Time{}
	t.mu.Lock()
	for _, e := range t.byHash {
		if e.dirty {
			used[e.token.ID], e.dirty = e.token.Used, false
		}
	}
	t.mu.Unlock()
	if err := t.store.SaveTokenUse(ctx, used); err != nil {
		t.log.Warn("use of tokens not saved", "err", err) // the next use is saved again
	}
}

// Look gives the token that a secret belongs to, if it is good, and notes that it was
// used. live ends when it is revoked.
func (t *Tokens) Look(secret string, now time.Time) (token tenant.Token, live context.Context, ok bool) {
	if !wellFormed(secret) {
		return tenant.Token{}, nil, false
	}
	h := hash(secret)
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byHash[h]
	if !ok || e.token.Expired(now) {
		return tenant.Token{}, nil, false
	}
	if now.Sub(e.token.Used) >= time.Second {
		e.token.Used, e.dirty = now, true
	}
	return e.token, e.live, true
}

// Failed counts a bad secret; see Limiter.Fail.
func (t *Tokens) Failed(from netip.Addr, now time.Time) (wait time.Duration, first bool) {
	return t.failures.Fail(from, now)
}

// List gives all tokens, the oldest first.
func (t *Tokens) List() []tenant.Token {
	t.mu.Lock()
	list := make([]tenant.Token, 0, len(t.byHash))
	for _, e := range t.byHash {
		list = append(list, e.token)
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b tenant.Token) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Create makes a token of what want says, and its secret, which nobody can tell again.
func (t *Tokens) Create(ctx context.Context, want tenant.Token) (made tenant.Token, secret string, err error) {
	now := time.Now().UTC().Truncate(time.Microsecond) // as it is kept
	if err := want.Check(now); err != nil {
		return tenant.Token{}, "", err
	}
	secret = newSecret()
	made = tenant.Token{
		ID: newID(), Hash: hash(secret), Tenant: want.Tenant, Allow: normal(want.Allow), Description: want.Description,
		Created: now, Expires: want.Expires.UTC().Truncate(time.Microsecond),
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	t.mu.Lock()
	full := len(t.byHash) >= maxTokens
	t.mu.Unlock()
	if full {
		return tenant.Token{}, "", &tenant.Error{
			Code: tenant.CodeLimit, Op: "make token",
			Msg: fmt.Sprintf("there are %d tokens already", maxTokens), Hint: "`ten token revoke` takes those away that nobody needs",
		}
	}
	if err := t.store.AddToken(context.WithoutCancel(ctx), made); err != nil {
		return tenant.Token{}, "", fmt.Errorf("make token: %w", err)
	}
	t.mu.Lock()
	t.byHash[made.Hash] = newEntry(made)
	t.mu.Unlock()
	t.tell(ctx, event.TokenCreated, made)
	return made, secret, nil
}

// Revoke takes a token away. It is refused from now on, whatever the store says.
func (t *Tokens) Revoke(ctx context.Context, id string) error {
	t.changing.Lock()
	defer t.changing.Unlock()
	t.mu.Lock()
	var found *entry
	for h, e := range t.byHash {
		if e.token.ID == id {
			found = e
			delete(t.byHash, h)
		}
	}
	t.mu.Unlock()
	if found == nil {
		return &tenant.Error{
			Code: tenant.CodeNotFound, Op: "revoke token",
			Msg: fmt.Sprintf("there is no token %.40q", id), Hint: "`ten token ls` lists them",
		}
	}
	found.end()
	if err := t.store.RemoveToken(context.WithoutCancel(ctx), id); err != nil {
		// It would come back with the next daemon: whoever asked has to know, and can ask again.
		t.mu.Lock()
		t.byHash[found.token.Hash] = newEntry(found.token)
		t.mu.Unlock()
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	t.tell(ctx, event.TokenRevoked, found.token)
	return nil
}

func (t *Tokens) tell(ctx context.Context, kind event.Kind, token tenant.Token) {
	scope := "admin"
	if token.Tenant != "" {
		scope = "tenant " + token.Tenant
	}
	actor := tenant.ActorOf(ctx)
	t.log.Info(string(kind), "token", token.ID, "scope", scope, "actor", string(actor))
	t.events.Publish(event.Event{Kind: kind, Actor: actor, Fields: []slog.Attr{
		slog.String("token", token.ID), slog.String("scope", scope),
	}})
}

// normal sorts permissions and drops repeated ones.
func normal(list []tenant.Permission) []tenant.Permission {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
