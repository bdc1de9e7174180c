package packaging

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"tenement.dev/test/machine"
)

// The life of an installation: on a clean machine, upgraded under load, rebooted, removed,
// purged.
func TestLife(t *testing.T) {
	b := boot(t, machine.Root{})
	before := b.listing()
	first, second := b.bring(built(t, oldVersion, "deb")), b.bring(built(t, newVersion, "deb"))

	b.install(first)
	b.serve()
	b.private()
	b.upgrade(second)
	b.private()
	b.older()
	b.reboot()
	b.private()
	b.remove()

	b.sh("dpkg --purge tenement && rm -r /etc/tenement /srv/hello")
	b.clean(before)
}

// difference is what only one of two lists has.
func difference(before, after []string) (list []string) {
	for _, line := range before {
		if !slices.Contains(after, line) {
			list = append(list, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			list = append(list, "+ "+line)
		}
	}
	return list
}

// install installs the package, which then runs with its own configuration.
func (b *box) install(deb string) {
	b.Helper()
	out := b.sh("dpkg -i " + deb)
	if !strings.Contains(out, "/etc/tenement/tenement.toml") {
		b.Errorf("dpkg -i: got %s, want it to say what is next", out)
	}
	b.sh("systemctl is-active tenement.socket tenement.service")
	b.sh("systemctl is-enabled tenement.socket tenement.service")
	b.sh("ten config check -c /etc/tenement/tenement.toml")
	if got := b.sh("ten version"); strings.Count(got, oldVersion) != 2 {
		b.Errorf("ten version: got %s, want the client and the daemon to be %s", got, oldVersion)
	}
	if got := b.listening(); got != "*:443 *:80" {
		b.Errorf("listening sockets: got %q, want *:443 *:80", got)
	}
	// Without a certificate nobody is answered on 443 in the clear.
	if out, err := b.try("curl -sS -m 10 http://127.0.0.1:443/"); err == nil {
		b.Errorf("port 443 without TLS: got an answer %q, want none", out)
	}
	if got := b.sh("systemctl status tenement.service | cat"); !strings.Contains(got, "active (running)") {
		b.Errorf("systemctl status: got %s", got)
	}
	if got := b.sh("journalctl --list-catalog | grep -ci tenement"); got == "0" {
		b.Error("the journal's catalog has no entries of Tenement")
	}
}

// serve configures an app, and asks it over HTTPS.
func (b *box) serve() {
	b.Helper()
	b.write("/srv/hello/app.py", app)
	b.certify("/etc/tenement/tls", "*.hello.localhost")
	b.write("/etc/tenement/tenement.toml", config)
	b.sh("ten config check -c /etc/tenement/tenement.toml && systemctl restart tenement")
	b.eventually("ten ps --json | python3 -c 'import json,sys; print(*sorted(i[\"state\"] for i in json.load(sys.stdin)))'", "awake awake")
	if got := b.text("https://alice.hello.localhost/count"); got != "alice visit 1" {
		b.Errorf("HTTPS: got %q, want alice visit 1", got)
	}
	if got := b.text("http://bob.hello.localhost/count"); got != "bob visit 1" {
		b.Errorf("HTTP: got %q, want bob visit 1", got)
	}
	b.sh("ten spawn hello:carol")
	if got := b.text("https://carol.hello.localhost/count"); got != "carol visit 1" {
		b.Errorf("HTTPS: got %q, want carol visit 1", got)
	}
	secret := b.sh("ten token gen 2>/dev/null")
	got := b.sh("curl -sS -m 10 -H 'Authorization: Bearer " + secret + "' http://127.0.0.1:9090/api/v1/instances")
	if !strings.Contains(got, "hello:carol") {
		b.Errorf("the API with a token: got %s, want hello:carol in it", got)
	}
	if got := b.sh("curl -sS -m 10 -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer no' http://127.0.0.1:9090/api/v1/instances"); got != "401" {
		b.Errorf("the API with a wrong token: got %s, want 401", got)
	}
}

// private: the environment of all services, in tenement.toml, is nothing for an instance.
func (b *box) private() {
	b.Helper()
	const file = "/etc/tenement/tenement.toml"
	if got := b.sh("stat -c '%U:%G %a' " + file); got != "root:tenement 640" {
		b.Errorf("%s: got %s, want root:tenement 640", file, got)
	}
	as := "pid=$(systemctl show -P MainPID tenement-hello@alice.service); " +
		"nsenter --target $pid --mount --setuid $(stat -c %u /proc/$pid) --setgid $(stat -c %g /proc/$pid) "
	b.sh(as + "cat /srv/hello/app.py")
	if out, err := b.try(as + "cat " + file); err == nil {
		b.Errorf("an instance reads %s:\n%s", file, out)
	}
}

// pids are the main processes of the instances, by unit.
func (b *box) pids() string {
	b.Helper()
	return b.sh("systemctl show -p Id -p MainPID 'tenement-hello@*.service' | sort")
}

// upgrade installs the next version while clients ask: none is refused, no request fails,
// no instance is started anew. A WebSocket is told to come again (1001).
func (b *box) upgrade(deb string) {
	b.Helper()
	before := b.pids()
	daemon := b.sh("systemctl show -P MainPID tenement.service")
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var clients sync.WaitGroup
	var answers atomic.Int64
	var mu sync.Mutex
	var failures []string
	for i, url := range []string{"https://alice.hello.localhost/", "https://bob.hello.localhost/", "http://alice.hello.localhost/", "http://carol.hello.localhost/"} {
		clients.Go(func() {
			c := b.client(i%2 == 0)
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				// A request that has begun is let end.
				status, text, err := get(context.WithoutCancel(ctx), c, url)
				if err != nil || status != http.StatusOK {
					mu.Lock()
					failures = append(failures, fmt.Sprintf("GET %s: %d %q %v", url, status, text, err))
					mu.Unlock()
				}
				answers.Add(1)
			}
		})
	}
	c := b.client(true)
	defer c.CloseIdleConnections()
	c.Timeout = 0
	ws, resp, err := websocket.Dial(ctx, "wss://alice.hello.localhost/ws", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		b.Fatal(err)
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	defer ws.CloseNow()
	if _, text, err := ws.Read(ctx); err != nil || string(text) != "hi" {
		b.Fatalf("WebSocket: got %q (%v), want hi", text, err)
	}
	closed := make(chan error, 1)
	clients.Go(func() {
		_, _, err := ws.Read(ctx)
		closed <- err
	})
	for answers.Load() < 20 && ctx.Err() == nil {
		b.sh("true") // the clients are at it
	}
	b.sh("dpkg -i " + deb)
	asked := answers.Load()
	for answers.Load() < asked+20 && ctx.Err() == nil {
		b.sh("true")
	}
	select {
	case err := <-closed:
		if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
			b.Errorf("WebSocket over the upgrade: got %v (%v), want it closed with 1001", got, err)
		}
	case <-b.Context().Done():
	}
	stop()
	clients.Wait()
	if len(failures) > 0 {
		b.Errorf("%d of %d requests failed over the upgrade, the first: %s", len(failures), answers.Load(), failures[0])
	}
	b.Logf("%d requests over the upgrade", answers.Load())
	if got := b.pids(); got != before {
		b.Errorf("instances over the upgrade: got\n%s\nwant\n%s", got, before)
	}
	if got := b.sh("systemctl show -P MainPID tenement.service"); got == daemon {
		b.Errorf("the daemon is still process %s: the upgrade has not restarted it", got)
	}
	if got := b.sh("ten version"); strings.Count(got, newVersion) != 2 {
		b.Errorf("ten version: got %s, want the client and the daemon to be %s", got, newVersion)
	}
	if got := b.sh("cat /etc/tenement/tenement.toml"); got != strings.TrimSpace(config) {
		b.Errorf("the upgrade has changed tenement.toml:\n%s", got)
	}
}

// older has the registry be one of a later Tenement: this one refuses it, and says why.
func (b *box) older() {
	b.Helper()
	registry := b.sh("find /var/lib/tenement -name registry.db")
	change := func(by string) string {
		return `python3 -c 'import sqlite3; db = sqlite3.connect("` + registry + `"); v = db.execute("PRAGMA user_version").fetchone()[0]; db.execute(f"PRAGMA user_version = {v` + by + `}")'`
	}
	b.sh("systemctl stop tenement.socket tenement.service && " + change("+1"))
	if out, err := b.try("systemctl start tenement.service"); err == nil {
		b.Errorf("a daemon on a later registry: got it started %s, want it to refuse", out)
	}
	log := b.sh("systemctl stop tenement.service; journalctl --no-pager -o cat -u tenement.service | tail -40")
	if !strings.Contains(log, "was written by a newer Tenement") {
		b.Errorf("a daemon on a later registry: got\n%s\nwant it to say so", log)
	}
	b.sh(change("-1") + "; systemctl reset-failed tenement.service; systemctl start tenement.socket tenement.service")
}

// reboot boots the machine again: those of [instances] run, others sleep until they are
// asked, and data is as it was.
func (b *box) reboot() {
	b.Helper()
	if err := b.m.Reboot(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.eventually("systemctl is-active tenement.service", "active")
	b.eventually("ten ps --json | python3 -c 'import json,sys; print(*sorted(i[\"id\"] + \" \" + i[\"state\"] for i in json.load(sys.stdin)))'",
		"hello:alice awake hello:bob awake hello:carol asleep")
	if got := b.text("https://carol.hello.localhost/count"); got != "carol visit 2" {
		b.Errorf("after a reboot: got %q, want carol visit 2", got)
	}
}

// remove removes the package: nothing runs any more, data and configuration stay, and come
// back with it.
func (b *box) remove() {
	b.Helper()
	b.sh("dpkg -r tenement")
	if got := b.sh("systemctl list-units --no-legend 'tenement*' | cat; pgrep -af '[t]en-init|/usr/bin/[t]en|hello/[a]pp.py' || true; nft list tables; ls /run/userdb"); got != "" {
		b.Errorf("after a removal there is still\n%s", got)
	}
	b.sh("test -e /etc/tenement/tenement.toml && test -e /var/lib/tenement/data/hello/carol/count")
	b.sh("dpkg -i /packages/*" + newVersion + "*.deb")
	if got := b.text("https://carol.hello.localhost/count"); got != "carol visit 3" {
		b.Errorf("removed and installed again: got %q, want carol visit 3", got)
	}
}
