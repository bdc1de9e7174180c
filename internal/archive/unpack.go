package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
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

// mode is what may be taken over of an entry's.
func mode(h *tar.Header) fs.FileMode { return fs.FileMode(h.Mode & 0o777) }

// moment is when an entry was changed, and not in the future.
func (u *unpacker) moment(h *tar.Header) time.Time {
	if h.ModTime.After(u.now) || h.ModTime.Unix() < 0 {
		return u.now
	}
	return h.ModTime
}

// entry makes one entry below the data.
func (u *unpacker) entry(h *tar.Header) error {
	at, err := u.check(h)
	if err != nil {
		return err
	}
	dir, name := base(at)
	if err := u.enter(dir); err != nil {
		return err
	}
	if u.size.Files+u.size.Others >= u.o.Size.Files+u.o.Size.Others {
		return bad("it has more files than the %d that it says", u.o.Size.Files+u.o.Size.Others)
	}
	if u.stored += blockSize; u.over() {
		return u.tooMuch()
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.dir(h, at, name)
	case tar.TypeReg:
		err = u.file(h, at, name)
	case tar.TypeSymlink:
		err = u.link(h, at, name)
	default:
		err = u.hardLink(h, name)
	}
	if errors.Is(err, fs.ErrExist) {
		return bad("it has %q twice", h.Name)
	}
	return err
}

// check refuses entries that no backup has, and gives the path below the data.
func (u *unpacker) check(h *tar.Header) (at string, err error) {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	default:
		return "", bad("%q is no file, directory or link (type %q)", h.Name, h.Typeflag)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", bad("%q is a sparse entry", h.Name)
		}
	}
	if h.Mode&^0o777 != 0 {
		return "", bad("%q has mode %o: setuid, setgid and the like are not restored", h.Name, h.Mode)
	}
	if h.Size < 0 || h.Typeflag != tar.TypeReg && h.Size != 0 {
		return "", bad("%q has %d bytes", h.Name, h.Size)
	}
	at, err = below(h.Name)
	if err != nil {
		return "", err
	}
	return at, nil
}

// below gives the path of an entry below the data.
func below(name string) (string, error) {
	at, ok := strings.CutPrefix(name, dataName)
	at = strings.TrimSuffix(at, "/")
	switch {
	case !ok || at == "" || path.Clean("/"+at) != "/"+at || strings.ContainsRune(at, 0):
		return "", bad("%.100q is not a path below its data", name)
	case len(at) > maxName:
		return "", bad("%.100q... has %d bytes", name, len(at))
	case strings.Count(at, "/") >= MaxDepth:
		return "", bad("%.100q... is nested too deep", name)
	}
	return at, nil
}

// enter opens the directory at a path below the root, if that is one of our own making:
// no link is followed (openat2(2)).
func (u *unpacker) enter(dir string) error {
	if u.parent != nil && u.parentPath == dir {
		return nil
	}
	f, err := u.open(dir)
	if err != nil {
		return bad("there is no directory for what it has in %.100q", dir)
	}
	u.leave()
	u.parent, u.parentPath = f, dir
	return nil
}

func (u *unpacker) open(dir string) (*os.File, error) {
	if dir == "" {
		dir = "."
	}
	fd, err := unix.Openat2(int(u.root.Fd()), dir, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// own gives the name in the present directory to its owner.
func (u *unpacker) own(name string) error {
	return unix.Fchownat(int(u.parent.Fd()), name, u.owner.UID, u.owner.GID, unix.AT_SYMLINK_NOFOLLOW)
}

func (u *unpacker) dir(h *tar.Header, at, name string) error {
	if err := unix.Mkdirat(int(u.parent.Fd()), name, 0o700); err != nil {
		return err
	}
	u.size.Others++
	u.dirs = append(u.dirs, madeDir{at, mode(h), u.moment(h)})
	return u.own(name)
}

func (u *unpacker) link(h *tar.Header, at, name string) error {
	if h.Linkname == "" || len(h.Linkname) > maxName {
		return bad("the link %.100q leads nowhere", h.Name)
	}
	if leadsOut(at, h.Linkname) {
		u.size.Outside++
		if !u.o.OutsideLinks {
			e := bad("the link %.100q leads out of the data, to %.100q", h.Name, h.Linkname)
			e.Hint = "where the app needs such links, --outside-links restores them as they are; nothing is written through them"
			return e
		}
	}
	if err := unix.Symlinkat(h.Linkname, int(u.parent.Fd()), name); err != nil {
		return err
	}
	u.size.Others++
	if err := u.own(name); err != nil {
		return err
	}
	return setTime(int(u.parent.Fd()), name, timespec(u.moment(h)))
}

func timespec(t time.Time) unix.Timespec { return unix.NsecToTimespec(t.UnixNano()) }

func (u *unpacker) hardLink(h *tar.Header, name string) error {
	noFile := bad("%.100q is another name of %.100q, which is no file before it", h.Name, h.Linkname)
	target, err := below(h.Linkname)
	if err != nil {
		return noFile
	}
	dir, last := base(target)
	from, err := u.open(dir)
	if err != nil {
		return noFile
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), last, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return noFile
	}
	u.size.Others++
	return unix.Linkat(int(from.Fd()), last, int(u.parent.Fd()), name, 0)
}

func (u *unpacker) file(h *tar.Header, at, name string) error {
	if u.size.Bytes += h.Size; u.size.Bytes > u.o.Size.Bytes {
		return bad("it has more bytes than the %d that it says", u.o.Size.Bytes)
	}
	f, err := openAt(u.parent, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	u.size.Files++
	if err := u.content(f, h.Size); err != nil {
		return err
	}
	if _, err := u.out.WriteString(sumLine(u.sum, dataName+at)); err != nil {
		return err
	}
	if err := f.Chown(u.owner.UID, u.owner.GID); err != nil {
		return err
	}
	if err := f.Chmod(mode(h)); err != nil {
		return err
	}
	if err := setTime(int(f.Fd()), "", timespec(u.moment(h))); err != nil {
		return err
	}
	return f.Close()
}

// content writes a file of size bytes; chunks of zeros become holes.
func (u *unpacker) content(f *os.File, size int64) error {
	u.sum.Reset()
	zeros := 0
	for at := int64(0); at < size; {
		if err := context.Cause(u.ctx); err != nil {
			return err
		}
		n, err := io.ReadFull(u.tr, u.buf[:min(size-at, chunk)])
		if err != nil {
			return err
		}
		u.sum.Write(u.buf[:n])
		if isZero(u.buf[:n]) {
			zeros += n
		} else {
			if u.stored += int64(n); u.over() {
				return u.tooMuch()
			}
			if err := roomFor(f, int64(n)); err != nil {
				return err
			}
			if _, err := f.WriteAt(u.buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	if zeros > 0 {
		return f.Truncate(size)
	}
	return nil
}

func isZero(p []byte) bool {
	return len(p) > 0 && p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// over reports whether what was made takes more than it may.
func (u *unpacker) over() bool { return u.o.Bytes > 0 && u.stored > u.o.Bytes }

func (u *unpacker) tooMuch() error {
	return &tenant.Error{
		Code: tenant.CodeLimit, Op: "unpack",
		Msg:  fmt.Sprintf("the backup is not restored: its data is more than the %s that the instance's may be", tenant.FormatBytes(u.o.Bytes)),
		Hint: "raise the limit: `ten limit INSTANCE --storage`, or storage_quota_mb of the service",
	}
}

// checkSums compares the checksums of the archive with those of what it had.
func (u *unpacker) checkSums(h *tar.Header) error {
	if err := u.out.Flush(); err != nil {
		return err
	}
	if _, err := u.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	want, got := bufio.NewReader(u.spool), bufio.NewReader(io.LimitReader(u.tr, h.Size))
	for {
		line, err := want.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		said, serr := readLine(got)
		if serr != nil && !errors.Is(serr, io.EOF) {
			return serr
		}
		switch {
		case line == "" && said == "":
			return nil
		case line == "" || said == "":
			return bad("its checksums are not those of its files")
		case line != said:
			_, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
			return bad("%.100q does not match its checksum", name)
		}
	}
}

// readLine is ReadString of a line that is not longer than ours.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < 3*maxName {
		c, err := r.ReadByte()
		if err != nil {
			return string(line), err
		}
		if line = append(line, c); c == '\n' {
			break
		}
	}
	return string(line), nil
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
