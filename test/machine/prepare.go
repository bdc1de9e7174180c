package machine

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed customize.sh
var customize string

// suite is the Debian release inside the machine: systemd 257.
const suite = "trixie"

// suites are all that a tree may be of.
var suites = []string{suite, "bookworm"}

// bootPackages is what every machine needs to boot beside Debian's minimal base.
var bootPackages = []string{
	"systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "libnss-systemd", "libnss-myhostname",
	"bash", "ca-certificates", "curl", "iproute2", "nftables", "procps", "python3",
}

// Root is another Debian than the usual one. The zero value is the usual one.
type Root struct {
	Suite    string   // "trixie" ("" too), which has systemd 257, or "bookworm", 252
	Packages []string // beside what it needs to boot
}

// flags are what mmdebstrap is told of the tree.
func (r Root) flags() []string {
	if r.Suite == "" && r.Packages == nil {
		return mmdebstrapFlags()
	}
	return flagsFor(append(bootPackages[:len(bootPackages):len(bootPackages)], r.Packages...))
}

func (r Root) suite() string {
	if r.Suite == "" {
		return suite
	}
	return r.Suite
}

// rootPackages is what the machine holds beside Debian's minimal base.
var rootPackages = []string{
	"systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "libnss-systemd", "libnss-myhostname",
	"bash", "ca-certificates", "caddy", "chromium", "curl", "e2fsprogs", "haproxy", "iproute2", "kmod", "less", "netcat-openbsd", "nftables", "nghttp2-client",
	"nginx-light", "nodejs", "procps", "prometheus", "python3", "runsc", "strace", "systemd-journal-remote", "wrk", "zstd",
	"python3-aiohttp", "python3-fastapi", "python3-uvicorn", // of the examples
}

// vmPackages is what virtual machines take from the same tree: their kernel, and what it is run with.
var vmPackages = map[string][]string{"amd64": {"user-mode-linux"}}

// Prepare returns the machine's root tree, read-only by convention. The first call on a host installs what is missing there
// and makes the tree, which takes about half a minute and needs the network; later calls find it in the cache,
// /var/cache/tenement-test or $TENEMENT_TEST_CACHE. Processes that call it at once wait for the one that builds.
func Prepare(ctx context.Context) (string, error) { return PrepareRoot(ctx, Root{}) }

// PrepareRoot is Prepare for another root.
func PrepareRoot(ctx context.Context, r Root) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("the test machine needs root (it boots a container): run this as root, for example with sudo")
	}
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()

	if err := install(ctx); err != nil {
		return "", err
	}
	entry := filepath.Join(cache, r.cacheKey())
	if _, err := os.Stat(entry); errors.Is(err, fs.ErrNotExist) {
		if err := clean(cache); err != nil {
			return "", err
		}
		if err := build(ctx, r, cache, entry); err != nil {
			return "", fmt.Errorf("build the test machine's root, for which a Debian mirror must be reachable: %w", err)
		}
	} else if err != nil {
		return "", fmt.Errorf("look for the test machine's root: %w", err)
	}
	now := time.Now()
	if err := os.Chtimes(entry, now, now); err != nil {
		return "", fmt.Errorf("mark the test machine's root as used: %w", err)
	}
	return filepath.Join(entry, "root"), nil
}

// Cache gives the directory on this host for what tests and benchmarks make once.
func Cache() (string, error) {
	cache := os.Getenv("TENEMENT_TEST_CACHE")
	if cache == "" {
		cache = "/var/cache/tenement-test"
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the test machine's cache: %w", err)
	}
	return cache, nil
}

// keepUnused is how long a tree that no run uses any more stays in the cache.
const keepUnused = 14 * 24 * time.Hour

// clean removes what interrupted builds left, which the holder of the lock may, and trees of old versions.
func clean(cache string) error {
	var old []string
	for _, s := range suites {
		trees, _ := filepath.Glob(filepath.Join(cache, s+"-*"))
		old = append(old, trees...)
	}
	doomed, _ := filepath.Glob(filepath.Join(cache, "building-*"))
	for _, entry := range old {
		if info, err := os.Stat(entry); err == nil && time.Since(info.ModTime()) > keepUnused {
			doomed = append(doomed, entry)
		}
	}
	for _, dir := range doomed {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clean the test machine's cache: %w", err)
		}
	}
	return nil
}

// cacheKey names a tree by everything that decides what is in it.
func (r Root) cacheKey() string {
	h := sha256.New()
	fmt.Fprintln(h, "layout 2", r.suite(), runtime.GOARCH, r.flags())
	fmt.Fprintln(h, customize)
	return r.suite() + "-" + hex.EncodeToString(h.Sum(nil))[:12]
}

func mmdebstrapFlags() []string {
	return flagsFor(append(rootPackages[:len(rootPackages):len(rootPackages)], vmPackages[runtime.GOARCH]...))
}

func flagsFor(packages []string) []string {
	return []string{
		"--mode=root", "--variant=minbase", "--format=directory", "--include=" + strings.Join(packages, ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
	}
}

// build makes a cache entry beside its final place and renames it, so that an entry that has its name is complete.
func build(ctx context.Context, r Root, cache, entry string) error {
	tmp, err := os.MkdirTemp(cache, "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	hook := filepath.Join(tmp, "customize.sh")
	if err := os.WriteFile(hook, []byte(customize), 0o755); err != nil {
		return err
	}
	args := append(r.flags(), "--customize-hook="+hook, r.suite(), filepath.Join(tmp, "root"))
	if mirror := hostMirror("/etc"); mirror != "" {
		args = append(args, mirror)
	}
	fmt.Fprintln(os.Stderr, "machine: building the test machine's root (once, about half a minute)")
	// In a pid and a mount namespace of its own, so that nothing of it goes on when this process is killed.
	args = append([]string{"--fork", "--pid", "--mount-proc", "--kill-child", "--", "mmdebstrap"}, args...)
	if err := runQuietly(ctx, "mmdebstrap", exec.Command("unshare", args...)); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(hook), os.Chmod(tmp, 0o755)); err != nil {
		return err
	}
	return os.Rename(tmp, entry)
}
