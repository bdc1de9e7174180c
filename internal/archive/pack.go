package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Pack writes what is in the directory dir as an archive, after what WriteManifest has
// written. Nobody may change it meanwhile. spool is an empty file that it may use.
func Pack(ctx context.Context, dir *os.File, w io.Writer, spool *os.File) error {
	p := packer{ctx: ctx, tw: tar.NewWriter(w), spool: spool, sum: sha256.New(), links: map[inode]string{}, buf: make([]byte, chunk)}
	err := p.dir(dir, dataName)
	if err == nil {
		err = p.sums()
	}
	if err == nil {
		err = p.tw.Close()
	}
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

// packer is one Pack at work.
type packer struct {
	ctx   context.Context
	tw    *tar.Writer
	spool *os.File // the checksums
	sum   hash.Hash
	links map[inode]string
	buf   []byte
}

func header(name string, kind byte, st *unix.Stat_t) *tar.Header {
	return &tar.Header{
		Name: name, Typeflag: kind, Mode: int64(st.Mode & 0o777),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
}

// dir writes an open directory, which is called name, with a slash, and what is in it.
func (p *packer) dir(dir *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	if err := p.tw.WriteHeader(header(name, tar.TypeDir, &st)); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(batch)
		for _, n := range names {
			if err := p.entry(dir, n, name+n); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (p *packer) entry(dir *os.File, name, at string) error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		sub, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer sub.Close()
		return p.dir(sub, at+"/")
	case unix.S_IFLNK:
		to, err := readLink(dir, name)
		if err != nil {
			return err
		}
		h := header(at, tar.TypeSymlink, &st)
		h.Linkname = to
		return p.tw.WriteHeader(h)
	case unix.S_IFREG:
		return p.file(dir, name, at, &st)
	}
	return fmt.Errorf("%s has mode %o", at, st.Mode)
}

func (p *packer) file(dir *os.File, name, at string, st *unix.Stat_t) error {
	key := inode{st.Dev, st.Ino}
	if first, ok := p.links[key]; ok {
		h := header(at, tar.TypeLink, st)
		h.Linkname = first
		return p.tw.WriteHeader(h)
	}
	if st.Nlink > 1 {
		p.links[key] = at
	}
	f, err := openAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	h := header(at, tar.TypeReg, st)
	h.Size = st.Size
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	p.sum.Reset()
	for left := st.Size; left > 0; {
		if err := context.Cause(p.ctx); err != nil {
			return err
		}
		n, err := io.ReadFull(f, p.buf[:min(left, chunk)])
		if err != nil {
			return fmt.Errorf("read %s: %w", at, err)
		}
		p.sum.Write(p.buf[:n])
		if _, err := p.tw.Write(p.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	_, err = p.spool.WriteString(sumLine(p.sum, at))
	return err
}

// escape is how sha256sum(1) writes names with characters that would break its lines.
var escape = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\r", "\\r")

// base is the parent and the last part of the path of an entry below the data.
func base(name string) (dir, last string) {
	dir, last = path.Split(name)
	return strings.TrimSuffix(dir, "/"), last
}
