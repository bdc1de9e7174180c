package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newRestoreCommand(p *program) *cobra.Command {
	var o tenant.RestoreOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "restore INSTANCE FILE",
		Short: "Replace an instance's data with that of a backup",
		Long: `Replace an instance's data with that of a backup, which may be another instance's. The
backup is checked first, while the instance goes on. Then it is stopped, its data is
replaced at once, and it is started again if it ran. Where it has data that needs --force;
with --keep-old that data is kept, in a directory that is told.

The data becomes the instance's own, whoever it belonged to. FILE - is standard input.`,
		Example: "  ten restore notes:alice alice.tar.zst --force --keep-old",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, "`ten restore` needs an instance, such as notes:alice, and a file")
			}
			_, err := tenant.ParseID(args[0])
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenant.ParseID(args[0])
			if err != nil {
				return err
			}
			return p.putBack(cmd.Context(), "restore", args[1], asJSON, func(ctx context.Context, c *client.Client, r io.Reader) (done, error) {
				withdraw, err := p.grantData(ctx, id)
				if err != nil {
					return done{}, err
				}
				defer withdraw()
				res, err := c.Restore(ctx, id, r, o)
				if err != nil {
					return done{}, err
				}
				text := fmt.Sprintf("%s has the data of %s of %s: %s; it is %s", id, res.From.Instance, clock(p.now(), res.From.TakenAt), describeSize(res), res.Instance.State)
				if res.Kept != "" {
					text += "\nwhat it had before is in " + res.Kept
				}
				return done{text, res}, nil
			})
		},
	}
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace data that is there")
	cmd.Flags().BoolVar(&o.KeepOld, "keep-old", false, "keep what is replaced")
	addOutsideLinks(cmd, &o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newImportCommand(p *program) *cobra.Command {
	var o tenant.RestoreOptions
	var as string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make an instance of an export or a backup",
		Long: `Make an instance of what "ten export" or "ten backup" has written, here or on another
server: with its data, weight, limits, host names, release, pause and lease. It sleeps
until its first request. Nothing is made where there is an instance of its name, or one
that has one of its host names. FILE - is standard input.`,
		Example: "  ten import alice.tar.zst\n  ten import alice.tar.zst --as notes:alice-copy --data-only",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "`ten import` needs a file")
			}
			if as == "" {
				return nil
			}
			_, err := tenant.ParseID(as)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.putBack(cmd.Context(), "import", args[0], asJSON, func(ctx context.Context, c *client.Client, r io.Reader) (done, error) {
				id, r, err := nameOf(as, r)
				if err != nil {
					return done{}, err
				}
				withdraw, err := p.grantData(ctx, id)
				if err != nil {
					return done{}, err
				}
				defer withdraw()
				res, err := c.Import(ctx, id, r, o)
				if err != nil {
					return done{}, err
				}
				text := fmt.Sprintf("%s is there, with the data of %s of %s: %s", id, res.From.Instance, clock(p.now(), res.From.TakenAt), describeSize(res))
				if len(res.Pending) > 0 {
					text += fmt.Sprintf("\nto be verified first (`ten domain verify`): %s", strings.Join(res.Pending, ", "))
				}
				return done{text, res}, nil
			})
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "the `instance` to make, where it is to have another name")
	cmd.Flags().BoolVar(&o.DataOnly, "data-only", false, "without weight, limits, host names, release, pause and lease")
	addOutsideLinks(cmd, &o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func addOutsideLinks(cmd *cobra.Command, o *tenant.RestoreOptions) {
	cmd.Flags().BoolVar(&o.OutsideLinks, "outside-links", false, "take symbolic links that lead out of the data as they are")
}

// sizeInWords is a size within a sentence, where a bare number would say nothing.
func sizeInWords(n int64) string {
	if n < 1<<10 {
		return tenant.Count(n, "byte", "bytes")
	}
	return tenant.FormatBytes(n)
}

func describeSize(res wire.Restored) string {
	return fmt.Sprintf("%s in %s", sizeInWords(res.Bytes), tenant.Count(res.Files, "file", "files"))
}

// putBack has do send a file to the daemon.
func (p *program) putBack(ctx context.Context, verb, path string, asJSON bool, do func(ctx context.Context, c *client.Client, r io.Reader) (done, error)) error {
	in := p.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return &tenant.Error{Code: tenant.CodeInvalid, Op: verb, Msg: fmt.Sprintf("cannot read %s: %v", path, err), Hint: "name a file that `ten backup` or `ten export` has written", Err: err}
		}
		defer f.Close()
		in = f
	}
	return p.ask(func(c *client.Client) error {
		counted := &countedReader{r: in}
		stop := p.progressOf(func() string { return fmt.Sprintf("%s, %s sent", verb, tenant.FormatBytes(counted.n.Load())) })
		d, err := do(ctx, c, counted)
		stop()
		if err != nil {
			return err
		}
		if asJSON {
			return p.say(d, true)
		}
		for line := range strings.SplitSeq(d.text, "\n") {
			if err := p.say(done{text: line}, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// countedReader counts what is read.
type countedReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// nameOf gives the instance that a backup is to become, which is the one that it says to
// be of unless as names one, and the backup again from its beginning.
func nameOf(as string, r io.Reader) (tenant.ID, io.Reader, error) {
	if as != "" {
		id, err := tenant.ParseID(as)
		return id, r, err
	}
	var head bytes.Buffer
	plain, err := archive.Decompress(io.TeeReader(r, &head))
	if err != nil {
		return tenant.ID{}, nil, err
	}
	defer plain.Close()
	b, _, err := archive.ReadManifest(plain)
	return b.Instance, io.MultiReader(&head, r), err
}
