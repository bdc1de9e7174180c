package lifecycle

import (
	"context"
	"io"
	"net"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// Controller is everything that needs privilege. Each method is idempotent: loading
// what is loaded, stopping what is stopped and unloading what is unknown are no
// errors. A promise of the spec that the machine cannot keep is a *tenant.Error with
// CodeUnsupported, and then nothing is left behind.
type Controller interface {
	// Load makes the instance's units known to the service manager and its doorbell
	// answer. It does not start the instance.
	Load(ctx context.Context, spec tenant.Spec) error
	// Unload stops the instance if it runs and makes the manager forget its units.
	Unload(ctx context.Context, id tenant.ID) error
	// Stop stops the instance and returns when it has stopped; its doorbell stays.
	Stop(ctx context.Context, id tenant.ID) error
	// Wipe removes the data directory of an instance that is not running; with kept also
	// what restores have kept of it (Unpacker.Replace).
	Wipe(ctx context.Context, id tenant.ID, kept bool) error
	Limiter
	SecretKeeper
	Packer
	Unpacker
	// List tells of the named instances, or of all that the manager knows. Unknown
	// ones are left out.
	List(ctx context.Context, ids ...tenant.ID) ([]units.Status, error)
	// Events gives hints that an instance may have changed; a zero ID stands for
	// all. The latest hint of each instance is never lost.
	Events() <-chan units.Status
}

// Limiter is the part of a Controller that has to do with limits.
type Limiter interface {
	// SetLimits changes the given limits of an instance, and nothing else of it, whether
	// it runs or sleeps; those that are not Live wait for its next Load, and of one that is
	// not loaded all but LimitStorage do. A limit that the machine does not have is a
	// *tenant.Error with CodeUnsupported, and then nothing has changed.
	SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error
	// Usage tells what an instance uses now, storage apart; see tenant.UnknownUsage.
	Usage(ctx context.Context, id tenant.ID) (tenant.Usage, error)
	// Measure tells how many bytes an instance's data has, and whether the file system
	// enforces LimitStorage. Where it does not, this takes a while.
	Measure(ctx context.Context, id tenant.ID) (bytes int64, enforced bool, err error)
}

// SecretKeeper is the part of a Controller that has the values of secrets. An ID without a
// name stands for a service, whose secrets all its instances get. Instances are handed those
// that their Spec names, with their next start.
type SecretKeeper interface {
	SetSecret(ctx context.Context, id tenant.ID, name string, value []byte) error
	// RemoveSecrets forgets the named ones, all if none is named.
	RemoveSecrets(ctx context.Context, id tenant.ID, names ...string) error
}

// SecretStore remembers which secrets there are.
type SecretStore interface {
	Secrets(ctx context.Context) (map[tenant.ID][]tenant.Secret, error)
	SetSecret(ctx context.Context, id tenant.ID, s tenant.Secret) error
	RemoveSecret(ctx context.Context, id tenant.ID, name string) error
}

// Packer is the part of a Controller that copies instances' data. Of each instance there
// is one snapshot at most, and one caller at a time. What a method that fails has made is
// removed. Errors about data are *tenant.Error.
type Packer interface {
	// Flush has the data of an instance that runs written to the disk, where that makes a
	// Snapshot soon afterwards faster.
	Flush(ctx context.Context, id tenant.ID)
	// Snapshot copies an instance's data, which nobody may change meanwhile, to where only
	// the Controller reaches it.
	Snapshot(ctx context.Context, id tenant.ID) (tenant.DataSize, error)
	// Pack writes the snapshot, as what follows the manifest of an archive (package
	// archive), and removes it, whether that fails or not.
	Pack(ctx context.Context, id tenant.ID, w io.Writer) error
}

// Unpacker is the part of a Controller that replaces instances' data. Of each instance there
// is one arrival at most, and one caller at a time. What a method that fails has made is
// removed. Errors about archives are *tenant.Error.
type Unpacker interface {
	// Unpack reads an archive, uncompressed, checks it, and makes its data beside the
	// instance's own, which need not be there, as whom spec says.
	Unpack(ctx context.Context, spec tenant.Spec, r io.Reader, o tenant.Unpacking) (tenant.DataSize, error)
	// Replace puts what Unpack has made in the place of the data of an instance that is not
	// loaded, at once. What was there is removed, or kept in a directory that is told.
	Replace(ctx context.Context, id tenant.ID, keep bool) (kept string, err error)
	// Discard removes snapshot (see Packer) and arrival of an instance, or of all where id is zero.
	Discard(ctx context.Context, id tenant.ID) error
}

// LimitStore remembers the instances' own limits.
type LimitStore interface {
	Limits(ctx context.Context) ([]registry.Limited, error)
	SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error
	SetStorage(ctx context.Context, id tenant.ID, bytes int64) error
}

// Doorbell reaches the first process of an instance; see package ingress.
type Doorbell interface {
	Connect(ctx context.Context) (net.Conn, ingress.Answer, error)
	ProbeApp(ctx context.Context) (net.Conn, ingress.Answer, error)
	Do(ctx context.Context, verb ingress.Verb) (ingress.Answer, error)
	Freeze(ctx context.Context) (release func(context.Context) error, a ingress.Answer, err error)
}

// Store remembers which instances there are.
type Store interface {
	Instances(ctx context.Context) ([]registry.Instance, error)
	Add(ctx context.Context, i registry.Instance) (added bool, err error)
	Remove(ctx context.Context, id tenant.ID) error
	SetPort(ctx context.Context, id tenant.ID, port int) error
	Weights(ctx context.Context) (map[tenant.ID]tenant.Weight, error)
	SetWeights(ctx context.Context, weights map[tenant.ID]tenant.Weight) error
	DomainStore
	SaveActivity(ctx context.Context, list []registry.Instance) error
	// TakeOver reports whether the daemon before has left in order; Leave says that this one does.
	TakeOver(ctx context.Context) (orderly bool, err error)
	Leave(ctx context.Context) error
	Brakes(ctx context.Context) (map[tenant.ID]registry.Brake, error)
	SetBrake(ctx context.Context, id tenant.ID, b registry.Brake) error
	LimitStore
	PauseStore
	SecretStore
	ReleaseStore
}
