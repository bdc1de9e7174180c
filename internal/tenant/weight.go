package tenant

// DefaultWeight is the weight of an instance that was given none.
const DefaultWeight = 100

// MaxWeight is the highest weight.
const MaxWeight = 10_000

// Weight is an instance's share of the requests for its service's own host name. The
// zero value is none.
type Weight struct {
	// N is 0 to MaxWeight; an instance with weight 0 gets no such request.
	N int
	// Set tells a weight of 0 from none.
	Set bool
}

// Effective is the weight that counts.
func (w Weight) Effective() int {
	if !w.Set {
		return DefaultWeight
	}
	return w.N
}
