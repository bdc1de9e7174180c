package lifecycletest

import (
	"bytes"
	"io"
	"testing"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// What is packed of a snapshot is unpacked beside the data, and takes its place when it is
// told to.
func snapshots(t *testing.T, b *bench) {
	control := b.Controller
	spec := b.Spec(b.id)
	check := func(want int64) {
		t.Helper()
		got, _, err := control.Measure(b.ctx(), b.id)
		if err != nil || got < want || got > want+64<<10 {
			t.Errorf("measure: got %d, %v, want %d", got, err, want)
		}
	}
	pack := func() *bytes.Buffer {
		t.Helper()
		control.Flush(b.ctx(), b.id)
		size, err := control.Snapshot(b.ctx(), b.id)
		b.must(err)
		out := new(bytes.Buffer)
		b.must(archive.WriteManifest(out, tenant.Backup{Format: tenant.BackupFormat, Instance: b.id, DataSize: size}))
		b.must(control.Pack(b.ctx(), b.id, out))
		return out
	}
	unpack := func(r io.Reader, o tenant.Unpacking) error {
		t.Helper()
		manifest, all, err := archive.ReadManifest(r)
		b.must(err)
		o.Size = manifest.DataSize
		_, err = control.Unpack(b.ctx(), spec, all, o)
		return err
	}
	b.must(control.Discard(b.ctx(), tenant.ID{}))
	b.must(control.Discard(b.ctx(), b.id))
	b.must(control.Load(b.ctx(), spec))
	b.Data(b.id, 3<<20)
	packed := pack()
	if err := control.Pack(b.ctx(), b.id, io.Discard); err == nil {
		t.Error("pack: the snapshot is there still")
	}
	b.do(ingress.Ready)
	release, _, err := b.Doorbell(b.id).Freeze(b.ctx())
	b.must(err)
	pack()
	b.must(release(b.ctx()))
	b.must(b.get())

	b.must(control.Unload(b.ctx(), b.id))
	if _, err := control.Replace(b.ctx(), b.id, false); err == nil {
		t.Error("replace: got no error, and nothing has arrived")
	}
	b.Data(b.id, 5<<20)
	again := func() io.Reader { return bytes.NewReader(packed.Bytes()) }
	if got := tenant.CodeOf(unpack(again(), tenant.Unpacking{})); got != tenant.CodeConflict {
		t.Errorf("unpack, with data: got code %q, want %q", got, tenant.CodeConflict)
	}
	if got := tenant.CodeOf(unpack(again(), tenant.Unpacking{Replace: true, Bytes: 2 << 20})); got != tenant.CodeLimit {
		t.Errorf("unpack, too much: got code %q, want %q", got, tenant.CodeLimit)
	}
	if _, err := control.Replace(b.ctx(), b.id, false); err == nil {
		t.Error("replace: got no error after failures")
	}
	b.must(unpack(again(), tenant.Unpacking{Replace: true, Bytes: 4 << 20}))
	check(5 << 20)
	kept, err := control.Replace(b.ctx(), b.id, true)
	b.must(err)
	if kept == "" {
		t.Error("replace: it is not said where the data is that was there")
	}
	check(3 << 20)
	b.must(control.Load(b.ctx(), spec))
	b.must(b.get())
	b.must(control.Unload(b.ctx(), b.id))
	b.must(control.Wipe(b.ctx(), b.id, true))
	b.must(unpack(again(), tenant.Unpacking{}))
	b.must(control.Discard(b.ctx(), b.id))
	if _, err := control.Replace(b.ctx(), b.id, false); err == nil {
		t.Error("replace: got no error after what has arrived was discarded")
	}
	b.must(unpack(again(), tenant.Unpacking{}))
	if _, err := control.Replace(b.ctx(), b.id, false); err != nil {
		t.Error(err)
	}
	check(3 << 20)
	b.must(control.Wipe(b.ctx(), b.id, true))
}
