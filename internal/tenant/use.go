package tenant

import "time"

// DayFormat is how a day is written, such as "2026-11-22". Days are in UTC.
const DayFormat = time.DateOnly

// DailyUse is what an instance has used on one day.
type DailyUse struct {
	ID  ID
	Day string
	Traffic
	// Awake and Dozing are how long it was in that state.
	Awake, Dozing time.Duration
	// CPU is the time of all cores together.
	CPU time.Duration
	// Memory is the memory that it had, in bytes times seconds.
	Memory float64
	// Storage is the bytes of its data when that was last looked at that day.
	Storage int64
}

// IsZero reports whether nothing was used.
func (u DailyUse) IsZero() bool {
	return u.Traffic == Traffic{} && u.Awake == 0 && u.Dozing == 0 && u.CPU == 0 && u.Memory == 0
}

// Metered is what has been counted of the present process of an instance, so that the
// next daemon goes on from there.
type Metered struct {
	ID ID
	// Started tells the process from others.
	Started int64
	// CPU is how much of its CPU time has been counted, at that moment.
	CPU time.Duration
	At  time.Time
}

// UseQuery says which use to tell of.
type UseQuery struct {
	// From and Until are the first and the last day.
	From, Until string
	// Service and Name are those of instances, empty for all.
	Service, Name string
}
