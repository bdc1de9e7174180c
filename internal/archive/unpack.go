package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// Owner is who the unpacked data shall belong to.
type Owner struct{ UID, GID int }

// What bounds an archive's entries.
const (
	maxName = 4000
	// blockSize is what a file takes at least, of a limit on data.
	blockSize = 4096
)

// Unpack makes the data of an archive, uncompressed, in the empty directory dir, which
// nobody else may reach. spool is an empty file that it may use. An archive that is
// damaged, or has what it may not have, is a *tenant.Error; what was made up to there is
// left to the caller.
func Unpack(ctx context.Context, r io.Reader, dir *os.File, owner Owner, o tenant.Unpacking, spool *os.File) (tenant.DataSize, error) {
	u := unpacker{
		ctx: ctx, tr: tar.NewReader(r), root: dir, owner: owner, o: o, now: time.Now(),
		spool: spool, out: bufio.NewWriter(spool), sum: sha256.New(), buf: make([]byte, chunk),
	}
	defer u.leave()
	err := u.all()
	if err == nil {
		err = u.finish()
	}
	if err == nil {
		// What follows is what makes the compressed stream end well.
		var rest int64
		if rest, err = io.CopyN(io.Discard, r, maxTail); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil && rest == maxTail {
			err = bad("it goes on after its end")
		}
	}
	var known *tenant.Error
	switch {
	case err == nil || errors.As(err, &known):
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e := bad("it is damaged, or ends too soon")
		e.Err = err
		err = e
	default:
		err = fmt.Errorf("unpack: %w", err)
	}
	return u.size, err
}

// maxTail bounds the zeros after the end of a tar archive: tar(1) fills up a record.
const maxTail = 1 << 20

// bad is the error of an archive that is not to be had.
func bad(format string, args ...any) *tenant.Error {
	return &tenant.Error{
		Code: tenant.CodeInvalid, Op: "unpack",
		Msg:  "the backup is not restored: " + fmt.Sprintf(format, args...),
		Hint: "nothing has changed; take another backup",
	}
}

// unpacker is one Unpack at work.
type unpacker struct {
	ctx    context.Context
	tr     *tar.Reader
	root   *os.File
	owner  Owner
	o      tenant.Unpacking
	now    time.Time
	size   tenant.DataSize
	stored int64

	spool *os.File // the checksums, as they should be
	out   *bufio.Writer
	sum   hash.Hash
	buf   []byte

	// parent is the directory at parentPath, kept open since most entries follow others of
	// the same; nil for none.
	parent     *os.File
	parentPath string
	dirs       []madeDir // what is finished at the end
}

type madeDir struct {
	path  string
	mode  fs.FileMode
	mtime time.Time
}

func (u *unpacker) leave() {
	if u.parent != nil {
		u.parent.Close()
		u.parent = nil
	}
}

// all makes all entries.
func (u *unpacker) all() error {
	if h, err := u.tr.Next(); err != nil {
		return err
	} else if h.Name != manifestName {
		return bad("it begins with %q", h.Name)
	}
	begun := false
	for {
		if err := context.Cause(u.ctx); err != nil {
			return err
		}
		h, err := u.tr.Next()
		switch {
		case err != nil:
			return err
		case h.Name == sumsName && begun:
			if err := u.checkSums(h); err != nil {
				return err
			}
			if h, err := u.tr.Next(); err == nil {
				return bad("it has %q after its checksums", h.Name)
			} else if !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		case h.Name == dataName && h.Typeflag == tar.TypeDir && !begun:
			begun = true
			u.dirs = append(u.dirs, madeDir{"", mode(h), u.moment(h)})
		case !begun:
			return bad("it has %q before its data", h.Name)
		default:
			if err := u.entry(h); err != nil {
				return err
			}
		}
	}
}

// finish looks whether all is there, and gives directories what would have been in the
// way before.
func (u *unpacker) finish() error {
	if u.size.Bytes != u.o.Size.Bytes || u.size.Files != u.o.Size.Files || u.size.Others != u.o.Size.Others {
		return bad("it has %d files with %d bytes, and says to have %d with %d", u.size.Files, u.size.Bytes, u.o.Size.Files, u.o.Size.Bytes)
	}
	u.leave()
	for i := len(u.dirs) - 1; i >= 0; i-- { // what is below comes first
		d := u.dirs[i]
		f, err := u.open(d.path)
		if err != nil {
			return err
		}
		if d.path == "" { // its own, whatever it was
			d.mode = 0o700
			err = f.Chown(u.owner.UID, u.owner.GID)
		}
		if err == nil {
			err = f.Chmod(d.mode)
		}
		if err == nil {
			err = setTime(int(f.Fd()), "", timespec(d.mtime))
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return unix.Syncfs(int(u.root.Fd()))
}
