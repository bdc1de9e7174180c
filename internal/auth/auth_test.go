package auth

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a Store in memory.
type store struct {
	mu     sync.Mutex
	list   map[string]tenant.Token
	saves  int
	broken error
}

func (s *store) Tokens(context.Context) ([]tenant.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.list)), s.broken
}

func (s *store) AddToken(_ context.Context, t tenant.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.list[t.ID] = t
	}
	return s.broken
}

func (s *store) RemoveToken(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		delete(s.list, id)
	}
	return s.broken
}

func (s *store) SaveTokenUse(_ context.Context, used map[string]time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range used {
		s.saves++
		t := s.list[id]
		t.Used = at
		s.list[id] = t
	}
	return s.broken
}

func load(t *testing.T, s *store, events *event.Bus) *Tokens {
	t.Helper()
	tokens, err := Load(t.Context(), s, events, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func create(t *testing.T, tokens *Tokens, want tenant.Token) (tenant.Token, string) {
	t.Helper()
	made, secret, err := tokens.Create(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	return made, secret
}

func TestCreateLookRevoke(t *testing.T) {
	s := &store{list: map[string]tenant.Token{}}
	events := event.NewBus(16)
	tokens := load(t, s, events)
	ctx := tenant.WithActor(t.Context(), "root")
	made, secret, err := tokens.Create(ctx, tenant.Token{
		Tenant: "alice", Allow: []tenant.Permission{"wake", "restart", "wake"}, Description: "hers",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^ten_[a-z2-7]{52}$`).MatchString(secret) {
		t.Errorf("got secret %q, want ten_ and 256 bits in base32", secret)
	}
	if made.ID == "" || strings.Contains(secret, made.ID) || !slices.Equal(made.Allow, []tenant.Permission{"restart", "wake"}) {
		t.Errorf("made %+v", made)
	}
	other, otherSecret := create(t, tokens, tenant.Token{})
	if other.ID == made.ID || otherSecret == secret {
		t.Error("two tokens are one")
	}
	// What is kept does not have the secret, and is enough for the next daemon.
	for range 2 {
		got, _, ok := tokens.Look(secret, time.Now())
		if !ok || got.ID != made.ID || got.Tenant != "alice" {
			t.Fatalf("got %+v, %v", got, ok)
		}
		tokens = load(t, s, events)
	}
	for _, bad := range []string{
		"", "ten_", secret[4:], secret + "a", secret[:len(secret)-1], "x" + secret[1:], strings.ToUpper(secret),
		secret[:4] + otherSecret[4:30] + secret[30:], other.ID,
	} {
		if _, _, ok := tokens.Look(bad, time.Now()); ok {
			t.Errorf("%q is taken for a good token", bad)
		}
	}
	_, live, _ := tokens.Look(secret, time.Now())
	if err := tokens.Revoke(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if live.Err() == nil {
		t.Error("who uses the token is not told that it was revoked")
	}
	if _, _, ok := tokens.Look(secret, time.Now()); ok {
		t.Error("a revoked token is good")
	}
	if _, _, ok := tokens.Look(otherSecret, time.Now()); !ok {
		t.Error("another token has gone too")
	}
	if err := tokens.Revoke(ctx, made.ID); tenant.CodeOf(err) != tenant.CodeNotFound {
		t.Errorf("revoked twice: got %v", err)
	}
	if list := load(t, s, nil).List(); len(list) != 1 || list[0].ID != other.ID {
		t.Errorf("the next daemon has %+v", list)
	}
	var told []string
	for e := range events.Follow(t.Context(), events.Start()) {
		told = append(told, string(e.Kind)+" "+e.Field("token").String()+" "+e.Field("scope").String()+" by "+string(e.Actor))
		if e.ID == events.Last() {
			break
		}
	}
	want := []string{
		"token_created " + made.ID + " tenant alice by root", "token_created " + other.ID + " admin by ",
		"token_revoked " + made.ID + " tenant alice by root",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// A token whose removal could not be written goes on, and whoever asked learns that.
func TestRevokeNotWritten(t *testing.T) {
	s := &store{list: map[string]tenant.Token{}}
	tokens := load(t, s, nil)
	made, secret := create(t, tokens, tenant.Token{})
	s.broken = errors.New("disk full")
	if err := tokens.Revoke(t.Context(), made.ID); err == nil {
		t.Error("no error")
	}
	if _, _, err := tokens.Create(t.Context(), tenant.Token{}); err == nil {
		t.Error("a token that is not kept was made")
	}
	s.broken = nil
	if _, _, ok := tokens.Look(secret, time.Now()); !ok {
		t.Error("it is refused, but comes back with the next daemon")
	}
	if err := tokens.Revoke(t.Context(), made.ID); err != nil {
		t.Errorf("the second try: %v", err)
	}
}

func TestExpiryAndUse(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &store{list: map[string]tenant.Token{}}
		tokens := load(t, s, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = tokens.Run(ctx) }()
		made, secret := create(t, tokens, tenant.Token{Expires: time.Now().Add(time.Hour)})
		begun := time.Now()
		for range 1000 { // a use each 0.1 s: one write for each minute of them
			tokens.Look(secret, time.Now())
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		s.mu.Lock()
		if saves := s.saves; saves != 1 {
			t.Errorf("%d writes in 100 s of use, want 1", saves)
		}
		s.mu.Unlock()
		if used := tokens.List()[0].Used; used.Sub(begun) < 98*time.Second {
			t.Errorf("last used %v after the first use", used.Sub(begun))
		}
		time.Sleep(time.Until(made.Expires) - time.Millisecond)
		if _, _, ok := tokens.Look(secret, time.Now()); !ok {
			t.Error("refused before it expires")
		}
		time.Sleep(time.Millisecond)
		if _, _, ok := tokens.Look(secret, time.Now()); ok {
			t.Error("good when it has expired")
		}
		cancel()
		<-done
		if used := s.list[made.ID].Used; made.Expires.Sub(used) != time.Millisecond {
			t.Errorf("at the end %v before its expiry is kept as its last use", made.Expires.Sub(used))
		}
	})
}

func TestWhatCannotBeMade(t *testing.T) {
	tokens := load(t, &store{list: map[string]tenant.Token{}}, nil)
	for name, want := range map[string]tenant.Token{
		"a tenant that cannot be":  {Tenant: "Alice"},
		"an unknown permission":    {Tenant: "alice", Allow: []tenant.Permission{"destroy"}},
		"permissions for an admin": {Allow: []tenant.Permission{"wake"}},
		"one that has expired":     {Expires: time.Now()},
		"two lines":                {Description: "a\nb"},
		"a story":                  {Description: strings.Repeat("x", 201)},
	} {
		if _, _, err := tokens.Create(t.Context(), want); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLimiter(t *testing.T) {
	var l Limiter
	now := time.Now()
	bad, good := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var firsts int
	for i := range 1000 { // 100 a second
		wait, first := l.Fail(bad, now.Add(time.Duration(i)*10*time.Millisecond))
		if i < burst && wait != 0 {
			t.Fatalf("held back after %d failures", i)
		}
		if i > burst+10 && wait == 0 {
			t.Fatalf("not held back after %d failures", i)
		}
		if first {
			firsts++
		}
	}
	if firsts != 1 {
		t.Errorf("told %d times, want once", firsts)
	}
	now = now.Add(10 * time.Second)
	if wait, _ := l.Fail(good, now); wait != 0 {
		t.Error("another address is held back")
	}
	if wait, _ := l.Fail(bad, now.Add(burst*refill+time.Second)); wait != 0 {
		t.Error("held back after a minute of silence")
	}
}

// A network of many addresses counts as one, and none makes the table grow for ever.
func TestLimiterIsBounded(t *testing.T) {
	var l Limiter
	now := time.Now()
	var held bool
	for i := range 1 << 10 {
		addr := netip.MustParseAddr("2001:db8::").As16()
		addr[14], addr[15] = byte(i>>8), byte(i)
		wait, _ := l.Fail(netip.AddrFrom16(addr), now)
		held = held || wait > 0
	}
	if !held || len(l.from) != 1 {
		t.Errorf("a /64 has %d entries, held back: %v", len(l.from), held)
	}
	for i := range 3 * maxAddresses {
		l.Fail(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(l.from) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(l.from))
	}
}
