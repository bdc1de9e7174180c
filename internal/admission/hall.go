package admission

import (
	"sync"

	"tenement.dev/internal/tenant"
)

// Hall bounds the requests that are held until their instances have started. A newcomer
// of a service is let in while that service holds no more than there is room left, and
// for a machine no more than half of that: one service alone fills at most half of the
// hall, two a third each, and there is always room for a few of another.
type Hall struct {
	mu   sync.Mutex
	size int
	held map[string]int // by service
	sum  int
}

// NewHall makes a Hall for a number of requests.
func NewHall(size int) *Hall { return &Hall{size: size, held: map[string]int{}} }

// SetSize changes the number of requests; those that are held stay.
func (h *Hall) SetSize(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.size = n
}

// Len is how many requests are held.
func (h *Hall) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sum
}

// Enter holds a request, which must Leave, or reports that there is no room. There is
// always room for an operator.
func (h *Hall) Enter(service string, p tenant.Priority) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	room := h.size - h.sum
	if p == tenant.PriorityMachine {
		room /= 2
	}
	if p != tenant.PriorityOperator && h.held[service] >= room {
		return false
	}
	h.held[service]++
	h.sum++
	return true
}

// Leave ends what Enter has begun.
func (h *Hall) Leave(service string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sum--
	if h.held[service]--; h.held[service] == 0 {
		delete(h.held, service)
	}
}
