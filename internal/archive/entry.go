package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

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

// mode is what may be taken over of an entry's.
func mode(h *tar.Header) fs.FileMode { return fs.FileMode(h.Mode & 0o777) }

// moment is when an entry was changed, and not in the future.
func (u *unpacker) moment(h *tar.Header) time.Time {
	if h.ModTime.After(u.now) || h.ModTime.Unix() < 0 {
		return u.now
	}
	return h.ModTime
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
	if h.Linkname == "" || len(h.Linkname) >= unix.PathMax {
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

// own gives the name in the present directory to its owner.
func (u *unpacker) own(name string) error {
	return unix.Fchownat(int(u.parent.Fd()), name, u.owner.UID, u.owner.GID, unix.AT_SYMLINK_NOFOLLOW)
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
