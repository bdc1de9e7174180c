package examples

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

// TestAllAsRoot runs all examples with one daemon that is root's: each instance that is in a namespace is a user of its own.
func TestAllAsRoot(t *testing.T) {
	s := harness.New(t, harness.Options{Config: "# comes below\n"})
	service := regexp.MustCompile(`(?m)^\[service\.[a-z]+\]$`)
	workdir := regexp.MustCompile(`(?m)^workdir = "(.*)"$`)
	config := "[settings]\napi_domain = true\n"
	var ids []string
	for _, e := range all {
		from, err := built(e.folder)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(s.Dir, e.folder)
		if err := copyTree(from, dir); err != nil {
			t.Fatal(err)
		}
		text := readConfig(t, e.folder)
		at := service.FindStringIndex(text)
		if at == nil {
			t.Fatalf("%s has no service", e.folder)
		}
		text = text[at[0]:]              // without settings
		if e.folder == "multi-runtime" { // a node is there already
			text = strings.Replace(text, "[service.node]", "[service.javascript]", 1)
		}
		if workdir.MatchString(text) {
			text = workdir.ReplaceAllString(text, fmt.Sprintf("workdir = %q", dir+"/$1"))
		} else {
			text = service.ReplaceAllString(text, fmt.Sprintf("$0\nworkdir = %q", dir))
		}
		config += text
		ids = append(ids, e.id)
	}
	s.WriteFile("tenement.toml", config)
	s.Run()
	s.Spawn(ids...)
	users := map[string]string{}
	for i, e := range all {
		if resp := s.Fetch(e.id, e.path); resp.Status != 200 {
			t.Errorf("%s: GET %s: got %d %s", e.id, e.path, resp.Status, resp.Body)
		}
		user := s.Show(ids[i], "UID")
		if strings.Contains(readConfig(t, e.folder), `isolation = "process"`) {
			continue
		}
		if uid, err := strconv.Atoi(user); err != nil || uid == 0 || users[user] != "" {
			t.Errorf("%s is the user %q, as %q is; want one of its own", e.id, user, users[user])
		}
		users[user] = e.id
	}
}
