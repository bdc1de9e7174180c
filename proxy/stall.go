package proxy

import (
	"net/http"
	"sync"
	"time"
)

// answerStall is how long a client may take nothing of an answer that its app has not sent all
// of: a tab with a paused film must not keep its instance awake for as long as it is open.
const answerStall = 5 * time.Minute

// stallWatch ends a write to a client that takes too long. The zero value is one. It may outlive
// the answer by a moment.
type stallWatch struct {
	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	writing bool
}

// begin is before a write to w. It sets no deadline: over HTTP/2 that would end the answer
// between two writes, too, when it is the app that takes its time.
func (s *stallWatch) begin(w http.ResponseWriter, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = true
	if s.timer != nil {
		s.timer.Reset(limit)
		return
	}
	s.timer = time.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.writing {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
		}
	})
}

// end is behind it.
func (s *stallWatch) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	s.timer.Stop()
}
