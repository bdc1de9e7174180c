package tenant

import "time"

// BackupFormat is the version of archives that this program writes, and the latest that
// it reads.
const BackupFormat = 1

// Backup is what an archive of an instance says of itself.
type Backup struct {
	Format   int   `json:"format"`
	Instance ID    `json:"instance"`
	State    State `json:"state"` // in which it was found
	// Release is the one that its process was started with last, empty where there is none
	// or nobody knows.
	Release string    `json:"release,omitempty"`
	TakenAt time.Time `json:"taken_at"`
	// FrozenMS is for how many milliseconds its app was frozen for the copy; 0 where it did
	// not run.
	FrozenMS float64 `json:"frozen_ms"`
	DataSize
	// Entry is what the registry had of it.
	Entry Entry `json:"entry,omitzero"`
}

// DataSize is how much data there is.
type DataSize struct {
	// Bytes are those of all files, holes included; a file with several names counts once.
	Bytes int64 `json:"bytes"`
	// Files are those with data, each once; Others are directories, links and further names.
	Files  int `json:"files"`
	Others int `json:"others"`
	// Skipped are sockets, pipes and devices, which an archive does not have.
	Skipped int `json:"skipped,omitempty"`
	// Outside counts links that lead out of the data, or may.
	Outside int `json:"outside_links,omitempty"`
	// Shared says that the copy shares its blocks with the data (reflinks).
	Shared bool `json:"reflinked,omitempty"`
}

// Entry is what the registry has of an instance beside its data, and an import gives to
// the new one.
type Entry struct {
	Created time.Time `json:"created"`
	// Weight is its own weight, nil for the standard.
	Weight *int `json:"weight,omitempty"`
	// Limits are its own, by their configuration keys.
	Limits map[string]int64 `json:"limits,omitempty"`
	// Domains are the host names that it has; those that are pending are left out.
	Domains []string `json:"domains,omitempty"`
	// Release is the one that it is pinned to, empty for its service's.
	Release string `json:"release,omitempty"`
	// Paused is its own pause, which may have ended.
	Paused *Pause `json:"paused,omitempty"`
	// KeepAwake is until when an operator wants it awake, zero for not.
	KeepAwake time.Time `json:"keep_awake_until,omitzero"`
}

// RestoreOptions says how data comes back.
type RestoreOptions struct {
	// Force replaces data that is there.
	Force bool
	// KeepOld keeps what is replaced.
	KeepOld bool
	// OutsideLinks accepts links that lead out of the data.
	OutsideLinks bool
	// DataOnly leaves the registry's entry out of an import.
	DataOnly bool
}

// Restored is what a restore or an import has done.
type Restored struct {
	DataSize
	// From is what the archive is of.
	From Backup `json:"from"`
	// Kept is the directory with what was replaced, empty where it is gone.
	Kept string `json:"kept,omitempty"`
	// DownMS is for how many milliseconds the instance could not be reached.
	DownMS float64 `json:"down_ms"`
	// Pending are the domains that are to be verified first.
	Pending []string `json:"pending_domains,omitempty"`
}

// Unpacking says what an archive may have.
type Unpacking struct {
	// Size is what it says to have.
	Size DataSize
	// Bytes is how much its data may take on the disk, 0 for no bound.
	Bytes int64
	// Replace is whether there may be data already.
	Replace bool
	// OutsideLinks accepts links that lead out of the data.
	OutsideLinks bool
}
