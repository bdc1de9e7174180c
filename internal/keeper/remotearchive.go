package keeper

import (
	"context"
	"io"

	"tenement.dev/internal/tenant"
)

// A keeper hands no data out, and takes none in: who has taken over the daemon would read
// and write that of all instances.

// noData is the error for people who want a copy.
func noData(op string, id tenant.ID) error {
	return &tenant.Error{
		Code: tenant.CodeUnsupported, Op: op, ID: id,
		Msg:  "this daemon runs without root, and the keeper does not hand it instances' data",
		Hint: "as root, stop the instance with `ten pause` and `ten stop`, and copy its directory in settings.data_dir",
	}
}

// Flush implements lifecycle.Packer: there is no use in it.
func (r *Remote) Flush(context.Context, tenant.ID) {}

// Snapshot implements lifecycle.Packer.
func (r *Remote) Snapshot(_ context.Context, id tenant.ID) (tenant.DataSize, error) {
	return tenant.DataSize{}, noData("copy data of", id)
}

// Pack implements lifecycle.Packer.
func (r *Remote) Pack(_ context.Context, id tenant.ID, _ io.Writer) error {
	return noData("copy data of", id)
}

// Unpack implements lifecycle.Unpacker.
func (r *Remote) Unpack(_ context.Context, spec tenant.Spec, _ io.Reader, _ tenant.Unpacking) (tenant.DataSize, error) {
	return tenant.DataSize{}, noData("restore", spec.ID)
}

// Replace implements lifecycle.Unpacker.
func (r *Remote) Replace(_ context.Context, id tenant.ID, _ bool) (string, error) {
	return "", noData("restore", id)
}

// Discard implements lifecycle.Unpacker: there is nothing.
func (r *Remote) Discard(context.Context, tenant.ID) error { return nil }
