package wire

import "tenement.dev/internal/tenant"

// Use answers GET /api/v1/usage: what was used on each day, sorted by day and instance.
type Use struct {
	Days []DailyUse `json:"days"`
}

// DailyUse is what an instance has used on one day (in UTC).
type DailyUse struct {
	Day string    `json:"day"`
	ID  tenant.ID `json:"id"`
	// Requests are those that its app got. The bytes are those of bodies and upgraded
	// connections, from clients and to them.
	Requests      int64 `json:"requests"`
	ReceivedBytes int64 `json:"received_bytes"`
	SentBytes     int64 `json:"sent_bytes"`
	// AwakeSeconds and DozingSeconds are how long it was in that state.
	AwakeSeconds  float64 `json:"awake_seconds"`
	DozingSeconds float64 `json:"dozing_seconds"`
	// CPUSeconds is the CPU time of all cores together.
	CPUSeconds float64 `json:"cpu_seconds"`
	// MemoryGiBHours is the memory that it had: 1 is 1 GiB for an hour. It is looked at
	// once a minute; null where it ran and that is not known, as without cgroup v2's memory
	// controller.
	MemoryGiBHours *float64 `json:"memory_gib_hours"`
	// StorageBytes is its data when that was last looked at on that day, null where nobody has.
	StorageBytes *int64 `json:"storage_bytes"`
}
