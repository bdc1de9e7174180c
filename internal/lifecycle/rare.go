package lifecycle

import "time"

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

// moment is a time as the registry keeps it, in microseconds since 1970, 0 for none: a third of
// what a time.Time takes, and without a monotonic clock. It is for times that are only told.
type moment int64

func momentOf(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	return moment(t.UnixMicro())
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}
