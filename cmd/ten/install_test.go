package main

import (
	"strings"
	"testing"
)

// Who may not install is told so, and nothing else.
func TestInstallNeedsRoot(t *testing.T) {
	ordinary := func(w *world) { w.euid = 1000 }
	for _, command := range []string{"install", "uninstall"} {
		got := runIn(t, ordinary, command)
		if got.code != 2 || got.out != "" || !strings.Contains(got.err, "only root may change what is installed") {
			t.Errorf("%s: got %+v, want only a refusal", command, got)
		}
	}
}

// A dry run says what happens beside the files: on this machine, not in an image.
func TestInstallSaysWhatElse(t *testing.T) {
	for _, test := range []struct {
		also []string
		want string
	}{
		{installOptions{root: "/"}.also(false), "enable and start tenement.socket"},
		{installOptions{root: "/"}.also(true), "restart tenement.service"},
		{installOptions{root: "/", caddy: true}.also(true), "reload caddy.service"},
		{alsoRemoved("/", false), "stop the daemon and all instances"},
		{alsoRemoved("/", true), "all data of all instances"},
	} {
		if got := strings.Join(test.also, "\n"); !strings.Contains(got, test.want) {
			t.Errorf("got %q, want it to say %q", got, test.want)
		}
	}
	if got := append(installOptions{root: "/image"}.also(false), alsoRemoved("/image", true)...); len(got) > 0 {
		t.Errorf("in an image: got %q, want nothing", got)
	}
}
