package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"tenement.dev/internal/tenant"
)

// Names of an archive's own entries.
const (
	manifestName = "tenement.json"
	dataName     = "data/"
	sumsName     = "SHA256SUMS"
)

// maxManifest bounds tenement.json, in bytes: an instance may have many domains.
const maxManifest = 1 << 20

// maxWindow bounds the memory that an archive makes its reader take.
const maxWindow = 32 << 20

// Compress gives a writer whose Close ends the compressed stream; w stays open.
func Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

// Decompress gives a reader of what Compress has written. What is damaged is a
// *tenant.Error with CodeInvalid.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	source := &source{r: r}
	d, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return &decompressor{d, source}, nil
}

// source remembers how reading from it has failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// decompressor tells what cannot be read from what cannot be understood.
type decompressor struct {
	*zstd.Decoder
	source *source
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.Decoder.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if d.source.err != nil {
		return n, d.source.err
	}
	e := bad("it is damaged, or is none")
	e.Err = err
	return n, e
}

func (d *decompressor) Close() error {
	d.Decoder.Close()
	return nil
}

// WriteManifest writes the beginning of an archive.
func WriteManifest(w io.Writer, b tenant.Backup) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	text = append(text, '\n')
	tw := tar.NewWriter(w)
	err = tw.WriteHeader(&tar.Header{
		Name: manifestName, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(text)),
		ModTime: b.TakenAt.Truncate(time.Second), Format: tar.FormatPAX,
	})
	if err == nil {
		_, err = tw.Write(text)
	}
	if err == nil {
		err = tw.Flush() // what follows is another's
	}
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// ReadManifest reads the beginning of an archive, uncompressed, and gives a reader of all
// of it. What is no archive of ours is a *tenant.Error with CodeInvalid.
func ReadManifest(r io.Reader) (tenant.Backup, io.Reader, error) {
	var head bytes.Buffer
	tr := tar.NewReader(io.TeeReader(io.LimitReader(r, 2*maxManifest), &head))
	b, err := readManifest(tr)
	if err == nil {
		return b, io.MultiReader(&head, r), nil
	}
	var known *tenant.Error
	if errors.As(err, &known) {
		return b, nil, err
	}
	return b, nil, &tenant.Error{
		Code: tenant.CodeInvalid, Op: "read archive", Err: err,
		Msg: "this is no backup of Tenement's", Hint: "`ten backup` and `ten export` make them",
	}
}

func readManifest(tr *tar.Reader) (b tenant.Backup, err error) {
	h, err := tr.Next()
	if err != nil {
		return b, err
	}
	if h.Name != manifestName || h.Typeflag != tar.TypeReg || h.Size > maxManifest {
		return b, fmt.Errorf("it begins with %q", h.Name)
	}
	text, err := io.ReadAll(tr)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, err
	}
	if b.Format > tenant.BackupFormat {
		return b, &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "read archive",
			Msg:  fmt.Sprintf("the backup has format %d; this version reads up to %d", b.Format, tenant.BackupFormat),
			Hint: "restore it with the version that has made it, or a later one",
		}
	}
	if b.Format < 1 || b.Bytes < 0 || b.Files < 0 || b.Others < 0 {
		return b, errors.New("its numbers make no sense")
	}
	_, err = tenant.ParseID(b.Instance.String())
	return b, err
}
