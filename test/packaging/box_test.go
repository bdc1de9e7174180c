package packaging

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/machine"
)

// timeout bounds every wait.
const timeout = 60 * time.Second

// box is a machine, and how a test uses it.
type box struct {
	*testing.T
	m     *machine.Machine
	files string // of the host; visible in the machine as /packages
	roots *x509.CertPool

	patience time.Duration // with a script
}

// boot starts a machine that has never seen Tenement.
func boot(t *testing.T, root machine.Root) *box {
	t.Helper()
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	m, err := machine.Boot(t.Context(), machine.Options{
		Name: "clean", Root: root,
		Binds: []machine.Bind{{Host: files, Machine: "/packages"}, {Host: filepath.Join(repo, "docs"), Machine: "/docs"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &box{T: t, m: m, files: files, patience: timeout}
}

// bring has the machine see a file of the host, and gives its path there.
func (b *box) bring(path string) string {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.files, filepath.Base(path)), text, info.Mode()); err != nil {
		b.Fatal(err)
	}
	return "/packages/" + filepath.Base(path)
}

// try runs a script as root, and gives what it wrote.
func (b *box) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(b.Context(), b.patience)
	defer cancel()
	cmd := b.m.Command(ctx, "root", []string{"DEBIAN_FRONTEND=noninteractive"}, "/bin/sh", "-ec", script)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// sh runs a script that must succeed.
func (b *box) sh(script string) string {
	b.Helper()
	out, err := b.try(script)
	if err != nil {
		log, _ := b.try("journalctl --no-pager -n 60 -u 'tenement*'")
		b.Fatalf("%s: %v\n%s\n%s", script, err, out, log)
	}
	return out
}

// write puts a file into the machine.
func (b *box) write(path, text string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), timeout)
	defer cancel()
	cmd := b.m.Command(ctx, "root", nil, "/bin/sh", "-ec", `mkdir -p "${1%/*}"; cat >"$1"`, "write", path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("write %s: %v\n%s", path, err, out)
	}
}

// eventually waits until a script gives what is wanted.
func (b *box) eventually(script, want string) {
	b.Helper()
	var got string
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		var err error
		if got, err = b.try(script); err == nil && got == want {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond): // the next look
		case <-b.Context().Done():
		}
	}
	log, _ := b.try("journalctl --no-pager -n 60 -u 'tenement*'; ten ps")
	b.Fatalf("%s: got %q, want %q\n%s", script, got, want, log)
}

// client makes requests to the machine's own port 80 or 443, whatever host they are for.
func (b *box) client(keepAlive bool) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: !keepAlive,
			TLSClientConfig:   &tls.Config{RootCAs: b.roots},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return b.m.Dial(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get makes a request, and gives status and body.
func get(ctx context.Context, c *http.Client, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(text)), err
}

// text is the body of a request that must be answered with 200.
func (b *box) text(url string) string {
	b.Helper()
	c := b.client(false)
	defer c.CloseIdleConnections()
	status, text, err := get(b.Context(), c, url)
	if err != nil || status != http.StatusOK {
		log, _ := b.try("journalctl --no-pager -n 40; ten ps")
		b.Fatalf("GET %s: got %d %q (%v), want 200\n%s", url, status, text, err, log)
	}
	return text
}

// listing is all of the machine's files that a package could have to do with, with owner,
// mode and for those of /etc the content. credential.secret is systemd's own key of the
// machine, made when it is first needed: what others have sealed with it since is lost
// without it.
func (b *box) listing() []string {
	b.Helper()
	return strings.Split(b.sh(`
find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /packages -o -path /docs -o -path /var/cache -o -path /var/lib/apt -o -path /root -o -name 'systemd-private-*' \) -prune -o \
	-not -name '*-' -not -path /etc/.pwd.lock -not -path /var/lib/systemd/catalog/database -not -path /var/lib/systemd/credential.secret -printf '%p %M %U %G\n' | sort
find /run -xdev \( -path /run/systemd -o -path /run/log -o -path /run/user -o -path /run/dbus \) -prune -o -name '*ten*' -print -o -path '/run/userdb/*' -print | sort
find /etc -xdev -type f -not -name '*-' | sort | xargs sha256sum
nft list tables
systemctl list-units --all --no-legend 'ten*' | cat
dpkg-query -W -f '${Package} ${Status}\n' tenement 2>/dev/null || true`), "\n")
}
