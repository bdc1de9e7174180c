package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

// archiveExt is what the files of `ten backup --all` end in.
const archiveExt = ".tar.zst"

func newBackupCommand(p *program) *cobra.Command {
	var out string
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "backup INSTANCE -o FILE",
		Short: "Write a backup of an instance's data to a file",
		Long: `Write a backup of an instance's data, as it is at one moment, to a file: a tar archive
in zstd. An app that runs is frozen while its data is copied, and requests wait for that;
on a file system with reflinks (btrfs, xfs) that is a few milliseconds. One that sleeps is
not woken.

The file has its name when the backup is whole, and not before; - is standard output.
With --all, all instances of a service (or of all services) are written to a directory,
each to SERVICE@NAME` + archiveExt + `.`,
		Example: "  ten backup notes:alice -o alice.tar.zst\n  ten backup notes:alice -o - | ssh backup.example.com 'cat > alice.tar.zst'\n  ten backup --all notes -o /srv/backups/today",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case out == "":
				return usage(cmd, "`ten backup` needs -o with the file to write")
			case !all:
				return oneInstanceArg(cmd, args)
			case out == "-":
				return usage(cmd, "with --all, -o is a directory")
			case len(args) > 1 || len(args) == 1 && !tenant.IsLabel(args[0]):
				return usage(cmd, "`ten backup --all` takes a service, or nothing for all of them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				return p.backupAll(cmd.Context(), args, out, asJSON)
			}
			return p.backup(cmd.Context(), "backup", args[0], out, asJSON)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `file` to write, - for standard output; with --all a directory")
	cmd.Flags().BoolVar(&all, "all", false, "back up all instances of the service")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON per instance")
	return cmd
}

func newExportCommand(p *program) *cobra.Command {
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "export INSTANCE -o FILE",
		Short: "Write an instance to a file, to import it on another server",
		Long: `Write an instance's data and its entry in the registry (weight, limits, host names,
release, pause, lease) to a file, from which "ten import" makes it again, here or on
another server. Tokens, secrets and what it has used are not in it. The file is that of "ten
backup", which has the entry, too.

To move an instance: pause it here, export it, import it there, destroy it here.`,
		Example: "  ten export notes:alice -o alice.tar.zst",
		Args: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usage(cmd, "`ten export` needs -o with the file to write")
			}
			return oneInstanceArg(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.backup(cmd.Context(), "export", args[0], out, asJSON)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `file` to write, - for standard output")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// backup writes one instance's.
func (p *program) backup(ctx context.Context, verb, name, out string, asJSON bool) error {
	id, err := tenant.ParseID(name)
	if err != nil {
		return err
	}
	if out == "-" && isTerminal(p.outReader()) {
		return &tenant.Error{Code: tenant.CodeInvalid, Op: verb, Msg: "a backup is nothing for a terminal", Hint: "name a file with -o, or send it into a pipe"}
	}
	return p.ask(func(c *client.Client) error {
		d, err := p.backupTo(ctx, c, verb, id, out)
		if err != nil {
			return err
		}
		if out == "-" { // which has the backup
			p.note("%s\n", clean(d.text))
			return nil
		}
		return p.say(d, asJSON)
	})
}

// outReader is standard output for who wants to know what it is.
func (p *program) outReader() io.Reader {
	if f, ok := p.out.(*os.File); ok {
		return f
	}
	return nil
}

// backupAll writes those of all instances of a service, or of all services.
func (p *program) backupAll(ctx context.Context, args []string, dir string, asJSON bool) error {
	service := ""
	if len(args) == 1 {
		service = args[0]
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cannotWrite(dir, err)
	}
	return p.ask(func(c *client.Client) error {
		list, err := c.List(ctx, service)
		if err != nil {
			return err
		}
		ids := make([]tenant.ID, len(list))
		for i, inst := range list {
			ids[i] = inst.ID
		}
		return p.eachOf(ctx, c, "backup", ids, asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
			d, err := p.backupTo(ctx, c, "backup", id, filepath.Join(dir, id.Service+"@"+id.Name+archiveExt))
			if tenant.CodeOf(err) == tenant.CodeNotFound { // destroyed meanwhile
				err = errSkip
			}
			return d, err
		})
	})
}

// backupTo writes an instance's to a file, or to standard output.
func (p *program) backupTo(ctx context.Context, c *client.Client, verb string, id tenant.ID, out string) (d done, err error) {
	withdraw, err := p.grantData(ctx, id)
	if err != nil {
		return d, err
	}
	defer withdraw()
	w := p.out
	var f *newFile
	if out != "-" {
		if f, err = createFile(out); err != nil {
			return d, err
		}
		defer f.discard()
		w = f
	}
	counter := &counter{w: w}
	stop := p.progressOf(func() string {
		return fmt.Sprintf("%s %s, %s written", verb, id, tenant.FormatBytes(counter.n.Load()))
	})
	b, err := c.Backup(ctx, id, counter)
	stop()
	if err == nil && f != nil {
		err = f.commit()
	}
	if err != nil {
		return d, err
	}
	size := counter.n.Load()
	if b.Outside > 0 {
		p.note("%s: %s of its data, as a restore does only with --outside-links\n", id, tenant.Count(b.Outside, "link leads out", "links lead out"))
	}
	if b.Skipped > 0 {
		p.note("%s: %s left out (sockets, pipes, devices, mounts)\n", id, tenant.Count(b.Skipped, "thing is", "things are"))
	}
	text := fmt.Sprintf("%s: %s in %s, %s in %s", id, sizeInWords(b.Bytes), tenant.Count(b.Files, "file", "files"), sizeInWords(size), out)
	if out == "-" {
		text = fmt.Sprintf("%s: %s in %s, %s written", id, sizeInWords(b.Bytes), tenant.Count(b.Files, "file", "files"), sizeInWords(size))
	}
	if b.FrozenMS > 0 {
		text += fmt.Sprintf("; its app was frozen for %.1f ms", b.FrozenMS)
	}
	return done{text, struct {
		ID   tenant.ID `json:"id"`
		File string    `json:"file"`
		// Size is the file's, in bytes.
		Size int64 `json:"size"`
		tenant.Backup
	}{id, out, size, b}}, nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(int64(n))
	return n, err
}
