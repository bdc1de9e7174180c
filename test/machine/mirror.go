package machine

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hostMirror is the Debian mirror that the host's own apt configuration under etc (normally /etc) names, or "" where the
// host is not a Debian or names none: mmdebstrap then takes its own default.
func hostMirror(etc string) string {
	release := readShellVars(filepath.Join(etc, "os-release"))
	codename := release["VERSION_CODENAME"]
	if release["ID"] != "debian" || codename == "" {
		return ""
	}
	lists, _ := filepath.Glob(filepath.Join(etc, "apt/sources.list.d/*"))
	for _, path := range append([]string{filepath.Join(etc, "apt/sources.list")}, lists...) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var uri string
		switch filepath.Ext(path) {
		case ".list":
			uri = oneLineMirror(string(b), codename)
		case ".sources":
			uri = deb822Mirror(string(b), codename)
		}
		if uri != "" {
			return uri
		}
	}
	return ""
}

// oneLineMirror finds the mirror of suite in "deb [options] uri suite component..." lines (sources.list(5)).
func oneLineMirror(text, suite string) string {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		rest, ok := strings.CutPrefix(line, "deb")
		if !ok || rest == strings.TrimLeft(rest, " \t") {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, after, found := strings.Cut(rest, "]")
			if !found {
				continue
			}
			rest = after
		}
		f := strings.Fields(rest)
		if len(f) >= 3 && f[1] == suite && slices.Contains(f[2:], "main") && isRemote(f[0]) {
			return f[0]
		}
	}
	return ""
}

// deb822Mirror finds the mirror of suite in the stanzas of a .sources file (sources.list(5)).
func deb822Mirror(text, suite string) string {
	var stanza map[string][]string
	var key string
	check := func() string {
		if len(stanza["enabled"]) > 0 && stanza["enabled"][0] == "no" {
			return ""
		}
		if !slices.Contains(stanza["types"], "deb") || !slices.Contains(stanza["suites"], suite) ||
			!slices.Contains(stanza["components"], "main") {
			return ""
		}
		for _, uri := range stanza["uris"] {
			if isRemote(uri) {
				return uri
			}
		}
		return ""
	}
	stanza = map[string][]string{}
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if uri := check(); uri != "" {
				return uri
			}
			stanza, key = map[string][]string{}, ""
		case line[0] == ' ' || line[0] == '\t':
			stanza[key] = append(stanza[key], strings.Fields(line)...)
		default:
			k, v, _ := strings.Cut(line, ":")
			key = strings.ToLower(k)
			stanza[key] = strings.Fields(v)
		}
	}
	return ""
}

// isRemote leaves out cdrom:, file: and the like, which mmdebstrap could not use from inside the new root.
func isRemote(uri string) bool {
	return strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://")
}

// readShellVars reads a file of NAME=value lines as os-release(5) defines it; an unreadable file has none.
func readShellVars(path string) map[string]string {
	vars := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return vars
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			vars[k] = strings.Trim(v, `"'`)
		}
	}
	return vars
}
