package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"

	"tenement.dev/packaging"
)

const docDir = "/usr/share/doc/tenement"

// maintainer is who packages are from. The changelog repeats it.
const maintainer = "The Tenement authors <authors@tenement.dev>"

const description = `one process per customer, asleep until a request wakes it
 Tenement runs a copy of an app for each customer on one server, as units of
 systemd: each with a user, limits and a data directory of its own, and a host
 name. Idle copies are frozen and stopped; their next request wakes them.`

// pack makes one package, and gives its path.
func (b *builder) pack(format, arch string, licences []licence, out string) (path string, err error) {
	contents, err := b.contents(format, arch, licences)
	if err != nil {
		return "", err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "tenement", Arch: arch, Platform: "linux", Version: b.version, VersionSchema: "none",
		Section: "admin", Priority: "optional", Maintainer: maintainer, Description: description,
		Homepage: "https://tenement.dev", License: "Apache-2.0", MTime: b.when, DisableGlobbing: true,
		Overridables: nfpm.Overridables{Contents: contents},
	})
	o := &info.Overridables
	scripts := map[string]*string{"postinst": &o.Scripts.PostInstall, "prerm": &o.Scripts.PreRemove, "postrm": &o.Scripts.PostRemove}
	for name, field := range scripts {
		if *field, err = b.write("scripts/"+name, packaging.Script(name)); err != nil {
			return "", err
		}
	}
	// systemd asks NSS for instances' users, which are records below /run/userdb.
	switch format {
	case "deb":
		o.Depends = []string{"systemd (>= 252)", "libnss-systemd", "dbus | dbus-system-bus"}
		o.Recommends = []string{"ca-certificates"}
		o.Suggests = []string{"runsc", "caddy"}
		o.Deb.Compression = "gzip"
	case "rpm":
		o.Depends = []string{"systemd >= 252", "dbus"}
		o.Recommends = []string{"ca-certificates"}
		info.Release = "1"
		o.RPM = nfpm.RPM{Group: "System Environment/Daemons", BuildHost: "localhost", Compression: "zstd", Packager: maintainer}
		o.RPM.Summary, _, _ = strings.Cut(strings.Replace(description, "one", "One", 1), "\n")
		info.Description = strings.ReplaceAll(description, "\n ", "\n")
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return "", fmt.Errorf("make a package: %w", err)
	}
	path = filepath.Join(out, packager.ConventionalFileName(info))
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("make a package: %w", err)
	}
	if err := errors.Join(packager.Package(info, f), f.Close()); err != nil {
		return "", fmt.Errorf("make %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

// contents are the files of a package.
func (b *builder) contents(format, arch string, licences []licence) (files.Contents, error) {
	list, err := packaging.Files()
	if err != nil {
		return nil, err
	}
	for _, d := range b.docs {
		f := packaging.Completion(d.name, d.text, format == "deb")
		if !d.shell {
			if f, err = packaging.Manual(d.name, d.text); err != nil {
				return nil, err
			}
		}
		list = append(list, f)
	}
	doc := func(name string, text []byte) {
		list = append(list, packaging.File{Path: docDir + "/" + name, Mode: 0o644, Text: text})
	}
	doc("copyright", copyright(licences))
	own, err := readLicences("tenement", ".")
	if err != nil {
		return nil, err
	}
	for _, l := range append(own, licences...) {
		doc(strings.TrimPrefix(l.path(), docDir+"/"), l.text)
	}
	news, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return nil, fmt.Errorf("read what is new: %w", err)
	}
	for name, text := range map[string][]byte{"NEWS.md.gz": news, "changelog.gz": b.changelog()} {
		packed, err := packaging.Compress(text)
		if err != nil {
			return nil, err
		}
		if format == "deb" || name == "NEWS.md.gz" {
			doc(name, packed)
		}
	}
	if format == "deb" {
		list = append(list, packaging.File{Path: "/usr/share/lintian/overrides/tenement", Mode: 0o644, Text: packaging.Overrides()})
	}
	var contents files.Contents
	for _, f := range list {
		source, err := b.write("files"+f.Path, f.Text)
		if err != nil {
			return nil, err
		}
		c := &files.Content{Source: source, Destination: f.Path, FileInfo: &files.ContentFileInfo{Mode: f.Mode, MTime: b.when, Owner: "root", Group: "root"}}
		switch {
		case f.Config:
			c.Type = files.TypeConfigNoReplace
		case format == "rpm" && (strings.HasPrefix(f.Path, docDir+"/") || strings.HasPrefix(f.Path, "/usr/share/man/")):
			c.Type = files.TypeRPMDoc
		}
		contents = append(contents, c)
	}
	for path, name := range map[string]string{packaging.TenPath: "ten", packaging.InitPath: "ten-init"} {
		contents = append(contents, &files.Content{
			Source: b.program(arch, name), Destination: path,
			FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: b.when, Owner: "root", Group: "root"},
		})
	}
	return contents, nil
}

// write puts a text where nfpm finds it.
func (b *builder) write(name string, text []byte) (string, error) {
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("make a package: %w", err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("make a package: %w", err)
	}
	return path, nil
}

// changelog is that of Debian's policy, section 4.4; what is new is in CHANGELOG.md.
func (b *builder) changelog() []byte {
	return fmt.Appendf(nil, "tenement (%s) stable; urgency=medium\n\n  * What is new is in NEWS.md.gz.\n\n -- %s  %s\n",
		b.version, maintainer, b.when.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}
