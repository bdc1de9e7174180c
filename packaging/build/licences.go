package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licence is a file that has to go with the programs.
type licence struct {
	of   string // a module and its version
	name string
	text []byte
}

// licenceFile is what such files are called.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([-._].*)?$`)

// licencesOf collects the licences of all that is linked into the programs: Go itself, the
// modules, and what the dashboard sends to browsers. A module without one is an error.
func licencesOf(ctx context.Context, arch string) ([]licence, error) {
	out, err := goCommand(ctx, arch, "list", "-deps", "-json=Module", "./cmd/ten", "./cmd/ten-init").Output()
	if err != nil {
		return nil, fmt.Errorf("list what is linked: %w", err)
	}
	dirs := map[string]string{}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			Module *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("list what is linked: %w", err)
		}
		if p.Module != nil && !p.Module.Main {
			dirs[p.Module.Path+"@"+p.Module.Version] = p.Module.Dir
		}
	}
	env, err := goCommand(ctx, arch, "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go's own licence: %w", err)
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	dirs[version] = goroot
	dirs["dashboard"] = "templates/dashboard/assets"
	var list []licence
	for _, of := range slices.Sorted(maps.Keys(dirs)) {
		found, err := readLicences(of, dirs[of])
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// readLicences gives the licence files in a directory.
func readLicences(of, dir string) (list []licence, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for the licence of %s: %w", of, err)
	}
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".LICENSE" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the licence of %s: %w", of, err)
		}
		list = append(list, licence{of, e.Name(), text})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no file with its licence in %s", of, dir)
	}
	return list, nil
}

// path is where the package has a licence.
func (l licence) path() string {
	return docDir + "/licences/" + strings.ReplaceAll(strings.ReplaceAll(l.of, "/", "_"), "@", "_") + "/" + l.name
}

// copyright is the text that says whose work is in the package.
func copyright(list []licence) []byte {
	var b strings.Builder
	b.WriteString(`Tenement is distributed under the Apache License, Version 2.0.
Copyright: its authors.

On Debian systems the full text of that licence is in /usr/share/common-licenses/Apache-2.0;
a copy is in ` + docDir + `/licences/tenement.

The programs contain the work of others, each under its own licence:

`)
	last := ""
	for _, l := range list {
		if l.of != last {
			fmt.Fprintf(&b, "  %s\n", l.of)
			last = l.of
		}
		fmt.Fprintf(&b, "      %s\n", l.path())
	}
	return []byte(b.String())
}
