package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/tenant"
)

var alice = tenant.ID{Service: "notes", Name: "alice"}

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func spool(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// pack clones dir and makes an archive of the clone.
func pack(t *testing.T, dir string) ([]byte, tenant.DataSize) {
	t.Helper()
	to := t.TempDir()
	size, err := archive.Clone(t.Context(), open(t, dir), open(t, to))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := archive.Compress(&out)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		archive.WriteManifest(w, tenant.Backup{Format: tenant.BackupFormat, Instance: alice, DataSize: size, TakenAt: time.Now()}),
		archive.Pack(t.Context(), open(t, to), w, spool(t)), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), size
}

// unpack unpacks an archive into dir.
func unpack(t *testing.T, packed []byte, dir string, o tenant.Unpacking) (tenant.DataSize, error) {
	t.Helper()
	r, err := archive.Decompress(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, all, err := archive.ReadManifest(r)
	if err != nil {
		return tenant.DataSize{}, err
	}
	o.Size = b.DataSize
	return archive.Unpack(t.Context(), all, open(t, dir), archive.Owner{UID: os.Getuid(), GID: os.Getgid()}, o, spool(t))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// describe tells of all that is in a directory.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		st := info.Sys().(*syscall.Stat_t)
		links := st.Nlink
		if d.IsDir() {
			links = 0
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%x", sha256.Sum256(text))
		case info.Mode()&fs.ModeSymlink != 0:
			content, _ = os.Readlink(path)
		}
		if name != "." {
			fmt.Fprintf(&out, "%q %v %d %v %s\n", name, info.Mode(), links, info.ModTime().UnixNano(), content)
		}
		return nil
	})
	must(t, err)
	return out.String()
}

// What is packed and unpacked is as it was, to the nanosecond.
func TestRoundTrip(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	big := make([]byte, 3<<20+17)
	rand.Read(big[:2<<20])
	must(t,
		os.MkdirAll(in("a/b/c"), 0o755), os.Mkdir(in("empty"), 0o700), os.Mkdir(in("shut"), 0o500),
		os.WriteFile(in("big"), big, 0o644), os.WriteFile(in("none"), nil, 0o400),
		os.WriteFile(in("a/b/"+strings.Repeat("n", 250)), []byte("x"), 0o600),
		os.WriteFile(in("a/line\nbreak\\and\xff"), []byte("y"), 0o600), os.WriteFile(in("setuid"), []byte("z"), 0o700),
		os.Chmod(in("setuid"), 0o711|os.ModeSetuid),
		os.Link(in("big"), in("a/again")), os.Symlink("b/c", in("a/link")), os.Symlink("../big", in("a/up")),
		os.Symlink("nothing", in("dangling")),
		syscall.Mkfifo(in("pipe"), 0o600), os.WriteFile(in("holes"), []byte("begin"), 0o600), os.Truncate(in("holes"), 20<<20),
	)
	packed, size := pack(t, dir)
	if size.Skipped != 1 || size.Outside != 0 || size.Files != 6 || size.Others != 9 {
		t.Errorf("size: got %+v", size)
	}
	got, err := unpack(t, packed, to, tenant.Unpacking{})
	must(t, err)
	if got.Bytes != size.Bytes || got.Files != size.Files {
		t.Errorf("got %+v, want %+v", got, size)
	}
	must(t, os.Remove(in("pipe")), os.Chmod(in("setuid"), 0o711))
	// What removing the pipe has changed is not of interest.
	if got, want := describe(t, to), describe(t, dir); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	info, err := os.Stat(filepath.Join(to, "holes"))
	must(t, err)
	if disk := info.Sys().(*syscall.Stat_t).Blocks * 512; disk > 8<<20 {
		t.Errorf("a file with a hole of 20 MB takes %d bytes", disk)
	}
}

// Other programs read an archive, too.
func TestReadByOthers(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "one\\two\nthree"), []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "four"), []byte("y"), 0o600))
	packed, _ := pack(t, dir)
	r, err := archive.Decompress(bytes.NewReader(packed))
	must(t, err)
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), "tar", "-x", "-C", to)
	cmd.Stdin = r
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	cmd = exec.CommandContext(t.Context(), "sha256sum", "-c", "--strict", "SHA256SUMS")
	cmd.Dir = to
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "OK") != 2 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

// entry is one of a hostile archive; content is its body.
type entry struct {
	h       tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600}, content}
}

func special(name string, kind byte, link string) entry {
	return entry{tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o600}, ""}
}

// hostile makes an archive by hand; what it says of itself is true unless said differs.
func hostile(t *testing.T, entries []entry, said *tenant.DataSize) []byte {
	t.Helper()
	var size tenant.DataSize
	var sums strings.Builder
	for _, e := range entries {
		if e.h.Typeflag == tar.TypeReg {
			size.Files++
			size.Bytes += int64(len(e.content))
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(e.content)), e.h.Name)
		} else {
			size.Others++
		}
	}
	if said != nil {
		size = *said
	}
	var out bytes.Buffer
	w, err := archive.Compress(&out)
	must(t, err, archive.WriteManifest(w, tenant.Backup{Format: 1, Instance: alice, DataSize: size}))
	tw := tar.NewWriter(w)
	all := append([]entry{special("data/", tar.TypeDir, "")}, entries...)
	if len(entries) == 0 || entries[len(entries)-1].h.Name != "SHA256SUMS" {
		all = append(all, file("SHA256SUMS", sums.String()))
	}
	for _, e := range all {
		e.h.Size = int64(len(e.content))
		if e.h.Format == 0 {
			e.h.Format = tar.FormatPAX
		}
		must(t, tw.WriteHeader(&e.h))
		_, err := io.WriteString(tw, e.content)
		must(t, err)
	}
	must(t, tw.Close(), w.Close())
	return out.Bytes()
}

// What an archive may try leads to an error for people, and to nothing outside of its
// place.
func TestHostileArchives(t *testing.T) {
	mode := func(m int64) entry {
		e := file("data/x", "x")
		e.h.Mode = m
		return e
	}
	device := special("data/x", tar.TypeBlock, "")
	device.h.Devmajor, device.h.Devminor = 8, 1
	for _, c := range []struct {
		name    string
		entries []entry
		said    *tenant.DataSize
		o       tenant.Unpacking
		want    string
	}{
		{name: "an absolute path", entries: []entry{file("/etc/x", "x")}, want: "is not a path below its data"},
		{name: "a path up", entries: []entry{file("data/../../x", "x")}, want: "is not a path below its data"},
		{name: "a path up at the end", entries: []entry{special("data/..", tar.TypeDir, "")}, want: "is not a path below its data"},
		{name: "a path up in between", entries: []entry{special("data/a", tar.TypeDir, ""), file("data/a/../x", "x")}, want: "is not a path below its data"},
		{name: "a path with a dot", entries: []entry{file("data/./x", "x")}, want: "is not a path below its data"},
		{name: "an empty part", entries: []entry{file("data//x", "x")}, want: "is not a path below its data"},
		{name: "beside the data", entries: []entry{file("else/x", "x")}, want: "is not a path below its data"},
		{name: "another manifest", entries: []entry{file("tenement.json", "{}")}, want: "is not a path below its data"},
		{name: "a long path", entries: []entry{file("data/"+strings.Repeat("n", 4001), "x")}, want: "has 4001 bytes"},
		{name: "a deep path", entries: []entry{file("data/"+strings.Repeat("d/", 128)+"x", "x")}, want: "nested too deep"},
		{name: "no directory", entries: []entry{file("data/a/x", "x")}, want: "there is no directory"},
		{name: "a link out", entries: []entry{special("data/x", tar.TypeSymlink, "/etc")}, want: "leads out of the data"},
		{name: "a link up", entries: []entry{special("data/x", tar.TypeSymlink, "../y")}, want: "leads out of the data"},
		{name: "a link down and up", entries: []entry{special("data/x", tar.TypeSymlink, "a/../../y")}, want: "leads out of the data"},
		{name: "a link to nothing", entries: []entry{special("data/x", tar.TypeSymlink, "")}, want: "leads nowhere"},
		{name: "through a link", entries: []entry{special("data/d", tar.TypeSymlink, "."), file("data/d/x", "x")}, want: "there is no directory"},
		{name: "through a link out", entries: []entry{special("data/d", tar.TypeSymlink, "OUTSIDE"), file("data/d/x", "x")},
			o: tenant.Unpacking{OutsideLinks: true}, want: "there is no directory"},
		{name: "over a link", entries: []entry{special("data/x", tar.TypeSymlink, "OUTSIDE/x"), file("data/x", "x")},
			o: tenant.Unpacking{OutsideLinks: true}, want: `"data/x" twice`},
		{name: "twice", entries: []entry{file("data/x", "x"), file("data/x", "y")}, want: `"data/x" twice`},
		{name: "a directory twice", entries: []entry{special("data/x", tar.TypeDir, ""), special("data/x/", tar.TypeDir, "")}, want: `"data/x/" twice`},
		{name: "a hard link out", entries: []entry{special("data/x", tar.TypeLink, "/etc/passwd")}, want: "no file before it"},
		{name: "a hard link up", entries: []entry{special("data/x", tar.TypeLink, "data/../../y")}, want: "no file before it"},
		{name: "a hard link through a link", entries: []entry{special("data/d", tar.TypeSymlink, "OUTSIDE"), special("data/x", tar.TypeLink, "data/d/secret")},
			o: tenant.Unpacking{OutsideLinks: true}, want: "no file before it"},
		{name: "a hard link to a link", entries: []entry{special("data/d", tar.TypeSymlink, "OUTSIDE/secret"), special("data/x", tar.TypeLink, "data/d")},
			o: tenant.Unpacking{OutsideLinks: true}, want: "no file before it"},
		{name: "a device", entries: []entry{device}, want: "is no file, directory or link"},
		{name: "a terminal", entries: []entry{special("data/x", tar.TypeChar, "")}, want: "is no file, directory or link"},
		{name: "a pipe", entries: []entry{special("data/x", tar.TypeFifo, "")}, want: "is no file, directory or link"},
		{name: "setuid", entries: []entry{mode(0o4755)}, want: "has mode 4755"},
		{name: "setgid", entries: []entry{mode(0o2755)}, want: "has mode 2755"},
		{name: "sticky", entries: []entry{mode(0o1755)}, want: "has mode 1755"},
		{name: "more bytes than said", entries: []entry{file("data/x", "12345")}, said: &tenant.DataSize{Bytes: 4, Files: 1}, want: "more bytes than the 4"},
		{name: "fewer bytes than said", entries: []entry{file("data/x", "12345")}, said: &tenant.DataSize{Bytes: 6, Files: 1}, want: "says to have 1 with 6"},
		{name: "more files than said", entries: []entry{file("data/x", ""), file("data/y", "")}, said: &tenant.DataSize{Files: 1}, want: "more files than the 1"},
		{name: "fewer files than said", entries: []entry{file("data/x", "")}, said: &tenant.DataSize{Files: 2}, want: "says to have 2"},
		{name: "over the limit", entries: []entry{file("data/x", strings.Repeat("x", 9000))}, o: tenant.Unpacking{Bytes: 10000}, want: "more than the 9.8K"},
		{name: "empty files over the limit", entries: []entry{file("data/x", ""), file("data/y", ""), file("data/z", "")}, o: tenant.Unpacking{Bytes: 10000}, want: "more than the 9.8K"},
		{name: "a wrong checksum", entries: []entry{file("data/x", "x"), file("SHA256SUMS", strings.Repeat("0", 64)+"  data/x\n")},
			said: &tenant.DataSize{Bytes: 1, Files: 1}, want: `"data/x" does not match its checksum`},
		{name: "a checksum missing", entries: []entry{file("data/x", "x"), file("SHA256SUMS", "")}, said: &tenant.DataSize{Bytes: 1, Files: 1}, want: "its checksums are not those of its files"},
		{name: "checksums without end", entries: []entry{file("data/x", "x"), file("SHA256SUMS", strings.Repeat("0", 1<<20))},
			said: &tenant.DataSize{Bytes: 1, Files: 1}, want: "does not match its checksum"},
		{name: "something after the checksums", entries: []entry{file("SHA256SUMS", ""), file("data/x", "x"), file("SHA256SUMS", "")}, said: &tenant.DataSize{}, want: "after its checksums"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			outside, dir := filepath.Join(top, "outside"), filepath.Join(top, "to")
			must(t, os.Mkdir(outside, 0o755), os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(outside, "secret"), nil, 0o644))
			for i, e := range c.entries {
				c.entries[i].h.Linkname = strings.ReplaceAll(e.h.Linkname, "OUTSIDE", outside)
			}
			before := describe(t, outside)
			_, err := unpack(t, hostile(t, c.entries, c.said), dir, c.o)
			var e *tenant.Error
			if !errors.As(err, &e) || !strings.Contains(e.Msg, c.want) || e.Hint == "" {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := describe(t, outside); got != before {
				t.Errorf("outside: got %s, want %s", got, before)
			}
		})
	}
}

// Sparse entries, which archive/tar does not write: the sizes that they claim cost nothing
// to say.
func TestSparseEntries(t *testing.T) {
	gnu := make([]byte, 512)
	copy(gnu, "data/x")
	copy(gnu[100:], "0000600\x00")
	copy(gnu[108:], "0000000\x000000000\x0000000000000\x0000000000000\x00")
	copy(gnu[156:], "S")
	copy(gnu[257:], "ustar  \x00")
	copy(gnu[483:], "77777777777\x00") // the real size
	sum := 8 * int(' ')
	for i, c := range gnu {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(gnu[148:], fmt.Sprintf("%06o\x00 ", sum))

	var pax bytes.Buffer
	tw := tar.NewWriter(&pax)
	// archive/tar leaves GNU.sparse records away; another name as long takes their place.
	must(t, tw.WriteHeader(&tar.Header{Name: "data/x", Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"GNU_sparse.major": "1", "GNU_sparse.minor": "0", "GNU_sparse.name": "data/x", "GNU_sparse.realsize": "8589934591",
	}, Size: 512}))
	for name, raw := range map[string][]byte{"GNU": gnu, "PAX": bytes.ReplaceAll(pax.Bytes(), []byte("GNU_sparse."), []byte("GNU.sparse."))} {
		var out bytes.Buffer
		w, err := archive.Compress(&out)
		must(t, err, archive.WriteManifest(w, tenant.Backup{Format: 1, Instance: alice, DataSize: tenant.DataSize{Bytes: 1 << 40, Files: 1}}))
		data := tar.NewWriter(w)
		must(t, data.WriteHeader(&tar.Header{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o700}), data.Flush())
		_, err = w.Write(append(raw, make([]byte, 4096)...))
		must(t, err, w.Close())
		begun := time.Now()
		_, err = unpack(t, out.Bytes(), t.TempDir(), tenant.Unpacking{})
		var e *tenant.Error
		if !errors.As(err, &e) || e.Code != tenant.CodeInvalid {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// Any byte that is lost or changed is noticed.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x"), bytes.Repeat([]byte("tenement "), 1000), 0o600))
	packed, _ := pack(t, dir)
	check := func(what string, damaged []byte) {
		t.Helper()
		_, err := unpack(t, damaged, t.TempDir(), tenant.Unpacking{})
		var e *tenant.Error
		if !errors.As(err, &e) || e.Code != tenant.CodeInvalid {
			t.Errorf("%s: got %v, want that it is damaged", what, err)
		}
	}
	for _, at := range []int{len(packed) / 3, len(packed) / 2, len(packed) - 10, len(packed) - 2} {
		damaged := bytes.Clone(packed)
		damaged[at] ^= 0x10
		check(fmt.Sprintf("byte %d changed", at), damaged)
		check(fmt.Sprintf("cut after byte %d", at), packed[:at])
	}
	check("no archive", []byte("hello, world; this is not one at all"))
	check("nothing", nil)
	_, _, err := archive.ReadManifest(bytes.NewReader(func() []byte {
		var out bytes.Buffer
		must(t, archive.WriteManifest(&out, tenant.Backup{Format: 2, Instance: alice}))
		return out.Bytes()
	}()))
	if got := tenant.CodeOf(err); got != tenant.CodeUnsupported {
		t.Errorf("of a later version: got %v", err)
	}
}

// Holes that would fill an archive are the fault of who has them.
func TestTooManyHoles(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600), os.Truncate(filepath.Join(dir, "x"), 1<<40))
	_, err := archive.Clone(t.Context(), open(t, dir), open(t, t.TempDir()))
	if tenant.CodeOf(err) != tenant.CodeLimit {
		t.Errorf("got %v", err)
	}
}

// Sizes whose sum is more than there are numbers for are not nothing.
func TestHolesWithoutEnd(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "holes-") // a file system that has such sizes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	to, err := os.MkdirTemp("/dev/shm", "holes-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(to) })
	for _, name := range []string{"a", "b", "c", "d"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600), os.Truncate(filepath.Join(dir, name), 1<<62))
	}
	if size, err := archive.Clone(t.Context(), open(t, dir), open(t, to)); tenant.CodeOf(err) != tenant.CodeLimit {
		t.Errorf("got %+v, %v", size, err)
	}
}

// What is copied can be restored; where that would not go there is no backup.
func TestLongestNames(t *testing.T) {
	deep := func(n int, part string) string { return strings.Repeat(part+"/", n) }
	long := deep(16, strings.Repeat("d", 249)) // 4000 bytes
	for name, c := range map[string]struct {
		dir, file, link string
		refused         bool
	}{
		"deep":         {dir: deep(127, "d"), file: "x"},
		"too deep":     {dir: deep(128, "d"), file: "x", refused: true},
		"deep dirs":    {dir: deep(128, "d")},
		"too deep dir": {dir: deep(129, "d"), refused: true},
		"long":         {dir: long[:3750], file: strings.Repeat("f", 250)},
		"too long":     {dir: long[:3750], file: strings.Repeat("f", 251), refused: true},
		"long link":    {link: strings.Repeat("l/", 2047) + "l"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, to := t.TempDir(), t.TempDir()
			at := open(t, dir)
			for part := range strings.SplitSeq(strings.TrimSuffix(c.dir, "/"), "/") {
				if part == "" {
					continue
				}
				must(t, unix.Mkdirat(int(at.Fd()), part, 0o700))
				fd, err := unix.Openat(int(at.Fd()), part, unix.O_DIRECTORY, 0)
				must(t, err)
				at = os.NewFile(uintptr(fd), part)
				t.Cleanup(func() { at.Close() })
			}
			if c.file != "" {
				must(t, unix.Mknodat(int(at.Fd()), c.file, unix.S_IFREG|0o600, 0))
			}
			if c.link != "" {
				must(t, unix.Symlinkat(c.link, int(at.Fd()), "link"))
			}
			if _, err := archive.Clone(t.Context(), open(t, dir), open(t, t.TempDir())); c.refused {
				if tenant.CodeOf(err) != tenant.CodeLimit || len(err.Error()) > 5000 {
					t.Errorf("got %d bytes %.300v, want that it is too much", len(fmt.Sprint(err)), err)
				}
				return
			}
			packed, size := pack(t, dir)
			if got, err := unpack(t, packed, to, tenant.Unpacking{}); err != nil || got.Files+got.Others != size.Files+size.Others {
				t.Errorf("got %+v, %v, want %+v", got, err, size)
			}
		})
	}
}

func TestCloneEnds(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Clone(ctx, open(t, dir), open(t, t.TempDir())); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// What changes while it is copied is copied as it was at one time or another, or not at
// all; no link is followed.
func TestCloneOfWhatChanges(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		name := filepath.Join(dir, "x")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			os.RemoveAll(name)
			switch i % 5 {
			case 0:
				os.WriteFile(name, []byte("inside"), 0o600)
			case 1:
				os.Symlink(outside, name)
			case 2:
				os.Mkdir(name, 0o700)
				os.WriteFile(filepath.Join(name, "secret"), []byte("inside"), 0o600)
			case 3:
				os.Symlink(filepath.Join(outside, "secret"), name)
			case 4:
				syscall.Mkfifo(name, 0o600)
			}
		}
	}()
	for range 300 {
		to := t.TempDir()
		if _, err := archive.Clone(t.Context(), open(t, dir), open(t, to)); err != nil {
			t.Fatal(err)
		}
		filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
			if d.Type().IsRegular() {
				if text, _ := os.ReadFile(path); strings.Contains(string(text), "secret") {
					t.Errorf("%s has what is outside", path)
				}
			}
			return err
		})
	}
	close(stop)
	<-done
}
