package lifecycle

// rare is a part of an instance that most never need: there may be very many that only sleep.
// It takes memory from the first time on that somebody changes it.
type rare[T any] struct{ made *T }

// get gives a copy of the part, zero where nobody has changed it.
func (r rare[T]) get() (part T) {
	if r.made != nil {
		part = *r.made
	}
	return part
}

// own gives the part to be changed, under the mutex that guards it.
func (r *rare[T]) own() *T {
	if r.made == nil {
		r.made = new(T)
	}
	return r.made
}
