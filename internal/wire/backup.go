package wire

import "tenement.dev/internal/tenant"

const (
	// ArchiveType is the media type of backups (RFC 8878): a tar archive in zstd.
	ArchiveType = "application/zstd"
	// BackupHeader has, in an answer with a backup, what that says of itself, but for the
	// registry's entry.
	BackupHeader = "Tenement-Backup"
)

// Restored answers a restore or an import: what was done, and the instance afterwards.
type Restored struct {
	Instance Instance `json:"instance"`
	tenant.Restored
}
