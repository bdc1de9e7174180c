package packaging

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed systemd sysusers.d tmpfiles.d scripts lint/overrides tenement.toml tenement.catalog grafana/tenement.json prometheus/tenement.rules.yml
var content embed.FS

// Where the programs, the one file that is the administrator's, and the manual pages are.
const (
	TenPath    = "/usr/bin/ten"
	InitPath   = "/usr/lib/tenement/ten-init"
	ConfigPath = "/etc/tenement/tenement.toml"
	ManualDir  = "/usr/share/man/man1"
)

// File is one file of an installation.
type File struct {
	Path   string // absolute
	Mode   fs.FileMode
	Config bool // the administrator may change it: it is not overwritten, and stays until a purge
	Text   []byte
	// Stock reports, of the text of a file that is there, whether it is as another package
	// brings it and nobody has changed it: then that is moved to Path + AsideSuffix until
	// this one goes. Nil where no other package has the file.
	Stock func(text []byte) bool
}

// AsideSuffix is what the name of a file of another package gets while ours is there.
const AsideSuffix = ".before-tenement"

// places says where the files of a directory here go.
var places = []struct{ from, to string }{
	{"systemd", "/usr/lib/systemd/system"},
	{"sysusers.d", "/usr/lib/sysusers.d"},
	{"tmpfiles.d", "/usr/lib/tmpfiles.d"},
	{"grafana", "/usr/share/tenement/grafana"},
	{"prometheus", "/usr/share/tenement/prometheus"},
}

// Files are those that are the same on every machine, by path.
func Files() ([]File, error) {
	list := []File{
		{Path: ConfigPath, Config: true, Text: text("tenement.toml")},
		{Path: "/usr/lib/systemd/catalog/tenement.catalog", Text: text("tenement.catalog")},
	}
	for _, place := range places {
		entries, err := content.ReadDir(place.from)
		if err != nil {
			return nil, fmt.Errorf("list the files of an installation: %w", err)
		}
		for _, e := range entries {
			list = append(list, File{Path: path.Join(place.to, e.Name()), Text: text(path.Join(place.from, e.Name()))})
		}
	}
	for i := range list {
		list[i].Mode = 0o644
	}
	return list, nil
}

// Script is one of those that packages run, by dpkg's name: postinst, prerm, postrm. They
// take the arguments of dpkg and those of rpm.
func Script(name string) []byte { return text("scripts/" + name) }

// Overrides are lintian's, with their reasons.
func Overrides() []byte { return text("lint/overrides") }

// text is the content of a file that is known to be embedded.
func text(name string) []byte {
	b, err := content.ReadFile(name)
	if err != nil {
		panic(err) // the name is in this package's source
	}
	return b
}

// Manual is the manual page with the given file name, such as "ten-ps.1", compressed.
func Manual(name string, page []byte) (File, error) {
	b, err := Compress(page)
	return File{Path: ManualDir + "/" + name + ".gz", Mode: 0o644, Text: b}, err
}

// Completion is what a shell completes ten's commands with: shell is "bash", "zsh" or
// "fish". Debian has zsh look elsewhere than others do.
func Completion(shell string, script []byte, debian bool) File {
	f := File{Mode: 0o644, Text: script}
	switch shell {
	case "zsh":
		f.Path = "/usr/share/zsh/site-functions/_ten"
		if debian {
			f.Path = strings.Replace(f.Path, "site-functions", "vendor-completions", 1)
		}
	case "fish":
		f.Path = "/usr/share/fish/vendor_completions.d/ten.fish"
	default:
		f.Path = "/usr/share/bash-completion/completions/ten"
	}
	return f
}

// Compress is what `gzip -9n` gives: no name and no time, so the same bytes each time.
func Compress(text []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if _, err := z.Write(text); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}
