package dashboard

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"tenement.dev/internal/wire"
)

const (
	// sessionLife is how long a sign-in is good for.
	sessionLife = 12 * time.Hour
	// maxSessions bounds how many there are, and maxOwn those of one token, whose owner
	// signs nobody else out by signing in again and again; the oldest make room.
	maxSessions = 1000
	maxOwn      = 50
)

// session is one sign-in.
type session struct {
	secret string // the token's
	word   string // what each form must have
	until  time.Time
	// live ends with the session.
	live context.Context
	end  context.CancelFunc
	// self is who it is, as the API said with the latest request; each request has its own.
	self wire.Self
}

// sessions are those that are good, by the hash of their name.
type sessions struct {
	mu     sync.Mutex
	byHash map[[32]byte]*session
}

// open makes a session of a good token.
func (s *sessions) open(secret string, self wire.Self, now time.Time) (name string, made *session) {
	name = rand.Text() + rand.Text() // 2 x 130 bits
	made = &session{secret: secret, word: rand.Text(), until: now.Add(sessionLife), self: self}
	made.live, made.end = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byHash == nil {
		s.byHash = map[[32]byte]*session{}
	}
	own := 0
	for _, one := range s.byHash {
		if one.self.Token == self.Token {
			own++
		}
	}
	if own >= maxOwn {
		s.dropOldestLocked(func(one *session) bool { return one.self.Token == self.Token })
	}
	if len(s.byHash) >= maxSessions {
		s.dropOldestLocked(func(*session) bool { return true })
	}
	s.byHash[sha256.Sum256([]byte(name))] = made
	return name, made
}

// dropOldestLocked ends the oldest session of those that are meant, of which there is one.
func (s *sessions) dropOldestLocked(meant func(*session) bool) {
	var oldest [32]byte
	var found *session
	for h, one := range s.byHash {
		if meant(one) && (found == nil || one.until.Before(found.until)) {
			oldest, found = h, one
		}
	}
	found.end()
	delete(s.byHash, oldest)
}

// find gives the session of that name, nil where there is none that is good.
func (s *sessions) find(name string, now time.Time) *session {
	h := sha256.Sum256([]byte(name))
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byHash[h]
	if one != nil && !now.Before(one.until) {
		one.end()
		delete(s.byHash, h)
		return nil
	}
	return one
}

// close ends the session of that name.
func (s *sessions) close(name string) {
	h := sha256.Sum256([]byte(name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.byHash[h]; one != nil {
		one.end()
		delete(s.byHash, h)
	}
}

// cookieName is the cookie's. Under TLS its prefix has browsers see to it that nobody
// but this host itself has set it (RFC 6265bis, section 4.1.3.2): not a tenant's.
func cookieName(secure bool) string {
	if secure {
		return "__Host-tenement"
	}
	return "tenement"
}

func setCookie(w http.ResponseWriter, secure bool, name string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(secure), Value: name, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	})
}

// sessionName is the name of the session that a request belongs to, or empty.
func sessionName(r *http.Request, secure bool) string {
	c, err := r.Cookie(cookieName(secure))
	if err != nil {
		return ""
	}
	return c.Value
}

// saysWord reports whether a form has the session's word in it.
func (s *session) saysWord(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("word")), []byte(s.word)) == 1
}
