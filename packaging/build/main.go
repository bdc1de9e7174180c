package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	_ "github.com/goreleaser/nfpm/v2/deb"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	out := flag.String("out", "dist", "`directory` for the packages")
	archs := flag.String("arch", "amd64,arm64", "Go's names of the `architectures`")
	formats := flag.String("format", "deb,rpm", "the `kinds` of package")
	given := flag.String("version", "", "`version` of the packages (default: by git)")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("no arguments are taken, not %q", flag.Args())
	}
	v, when, err := versionOf(ctx, *given)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "tenement-build-")
	if err != nil {
		return fmt.Errorf("make a directory to build in: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return fmt.Errorf("make the directory for packages: %w", err)
	}
	b := builder{dir: tmp, version: v, when: when}
	// The manual pages are printed by the program, so one is built that runs here.
	if err := b.programs(ctx, runtime.GOARCH); err != nil {
		return err
	}
	if err := b.texts(ctx); err != nil {
		return err
	}
	for _, arch := range strings.Split(*archs, ",") {
		if err := b.programs(ctx, arch); err != nil {
			return err
		}
		licences, err := licencesOf(ctx, arch)
		if err != nil {
			return err
		}
		for _, format := range strings.Split(*formats, ",") {
			path, err := b.pack(format, arch, licences, *out)
			if err != nil {
				return err
			}
			fmt.Println(path)
		}
	}
	return nil
}

// builder makes packages of one version.
type builder struct {
	dir     string // what is compiled and written on the way
	version string
	when    time.Time
	built   map[string]bool // architectures
	docs    []document
}

// program is where a program has been built.
func (b *builder) program(arch, name string) string { return filepath.Join(b.dir, arch, name) }

// programs builds both programs for an architecture, as they are shipped.
func (b *builder) programs(ctx context.Context, arch string) error {
	if b.built[arch] {
		return nil
	}
	for name, flags := range map[string]string{"ten": "-s -w -X main.buildVersion=" + b.version, "ten-init": "-s -w"} {
		cmd := goCommand(ctx, arch, "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", b.program(arch, name), "./cmd/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s for %s: %w\n%s", name, arch, err, out)
		}
	}
	if b.built == nil {
		b.built = map[string]bool{}
	}
	b.built[arch] = true
	return nil
}

// document is a text that a program of ours has printed.
type document struct {
	name  string // of the manual page, or the shell
	shell bool
	text  []byte
}

// texts has ten print its manual pages and completions.
func (b *builder) texts(ctx context.Context) error {
	ten := b.program(runtime.GOARCH, "ten")
	dir := filepath.Join(b.dir, "man")
	if err := command(ctx, ten, "man", dir).Run(); err != nil {
		return fmt.Errorf("print the manual pages: %w", err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) == 0 {
		return errors.Join(err, errors.New("print the manual pages: there are none"))
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the manual pages: %w", err)
		}
		b.docs = append(b.docs, document{name: filepath.Base(path), text: text})
	}
	for _, shell := range []string{"bash", "fish", "zsh"} {
		text, err := command(ctx, ten, "completion", shell).Output()
		if err != nil {
			return fmt.Errorf("print the completions for %s: %w", shell, err)
		}
		b.docs = append(b.docs, document{name: shell, shell: true, text: text})
	}
	return nil
}
