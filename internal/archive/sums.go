package archive

import (
	"archive/tar"
	"bufio"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"
)

// sums writes the checksums.
func (p *packer) sums() error {
	size, err := p.spool.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := p.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := p.tw.WriteHeader(&tar.Header{Name: sumsName, Typeflag: tar.TypeReg, Mode: 0o600, Size: size, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.CopyN(p.tw, p.spool, size)
	return err
}

// sumLine is a file's line in SHA256SUMS.
func sumLine(sum hash.Hash, name string) string {
	mark := ""
	if strings.ContainsAny(name, "\\\n\r") {
		mark, name = "\\", escape.Replace(name)
	}
	return mark + hex.EncodeToString(sum.Sum(nil)) + "  " + name + "\n"
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
