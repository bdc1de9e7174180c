package machine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	//go:embed vm-image.sh
	vmImageScript string
	//go:embed vm-boot.sh
	vmBootScript string
	//go:embed vm-inside.sh
	vmInsideScript string
)

// vmMemory is the memory of a virtual machine; it has 512 MiB of swap beside it.
const vmMemory = "1500M"

// vmBootTimeout bounds the boot of a virtual machine, which takes some five seconds on an idle host.
const vmBootTimeout = 2 * time.Minute

// RunVM boots a virtual machine from the same root as the other machines, with a kernel of its own: user-mode Linux, a
// program that needs neither KVM nor anything of the host's cgroups. It runs one program there, as root in the directory dir
// with env over the environment of a login, and returns its exit status; its output, standard error included, is this
// process' standard output. It has no input, unless o.Input is set. The machine ends with the program, with ctx and with this
// process, and leaves nothing.
//
// In it are the cgroup v2 controllers cpu, io, memory and pids, 512 MiB of swap, /srv on ext4 with project quota, and cgroup
// BPF. It has one processor, no network but its loopback, and its kernel lacks PSI, Landlock, io.weight and most of nftables.
func RunVM(ctx context.Context, o Options, dir string, env []string, argv ...string) (code int, err error) {
	v, err := newVM(ctx, o, dir, env, argv)
	if err != nil {
		return 1, err
	}
	code, err = v.run(ctx)
	if err != nil {
		err = fmt.Errorf("run %s in a virtual machine: %w; its console ends so:\n%s", argv[0], err, v.console)
	}
	return code, err
}

// vm is one virtual machine, booted for one program.
type vm struct {
	cmd     *exec.Cmd
	console *tail
	marks   *marks
	input   io.Reader
}

func newVM(ctx context.Context, o Options, dir string, env, argv []string) (*vm, error) {
	tree, image, err := prepareVM(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("boot a virtual machine: %w", err)
	}
	root, err := loginOf("root")
	if err != nil {
		return nil, err
	}
	// A kernel that has panicked may hang instead of ending.
	v := &vm{console: &tail{max: 4000, next: o.Log, alarm: "Kernel panic", heard: make(chan struct{})}, marks: newMarks(os.Stdout, rand.Text()), input: o.Input}
	input := "null"
	if o.Input != nil {
		input = "fd:3"
	}
	args := []string{
		"-c", vmBootScript, "machine-vm", tree, image, stateDir, vmMemory, input,
		job(v.marks.mark, dir, append(append(root.environ(), "SYSTEMD_PAGER=cat"), env...), argv),
	}
	for _, b := range o.Binds {
		inside, mode := b.Machine, "ro"
		if inside == "" {
			inside = b.Host
		}
		if b.Write {
			mode = "rw"
		}
		args = append(args, b.Host, inside, mode)
	}
	v.cmd = exec.Command("/bin/sh", args...)
	v.cmd.Env = []string{"PATH=" + Path}
	v.cmd.Stdout, v.cmd.Stderr = v.console, v.console
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	return v, nil
}

// run boots the machine and waits for its program.
func (v *vm) run(ctx context.Context) (code int, err error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer inW.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inR.Close()
		return 1, err
	}
	v.cmd.ExtraFiles = []*os.File{inR, outW} // descriptors 3 and 4
	ended, err := startBound(v.cmd)
	inR.Close()
	outW.Close()
	if err != nil {
		outR.Close()
		return 1, err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(v.marks, outR)
		copied <- err
	}()
	if v.input != nil {
		// Not waited for: it may be reading from a terminal. A line that it has read for nobody is lost with this process.
		go func() { _, _ = io.Copy(inW, v.input) }()
	}
	code, err = v.await(ctx, copied)
	// Its power-off is not asked for: that can hang, and there is nothing to keep.
	_ = v.cmd.Process.Kill() // fails only when it has ended
	<-ended
	outR.Close()
	return code, err
}

// await follows what the machine's script says of itself.
func (v *vm) await(ctx context.Context, copied <-chan error) (code int, err error) {
	boot := time.NewTimer(vmBootTimeout)
	defer boot.Stop()
	for {
		select {
		case word := <-v.marks.words:
			if word == "up" {
				boot.Stop()
				continue
			}
			code, err := strconv.Atoi(word)
			if err != nil {
				return 1, fmt.Errorf("it ended with %q", word)
			}
			return code, nil
		case err := <-copied:
			if len(v.marks.words) > 0 {
				copied = nil
				continue
			}
			return 1, errors.Join(errors.New("the machine ended before it"), err)
		case <-boot.C:
			return 1, fmt.Errorf("it was not up after %v", vmBootTimeout)
		case <-v.console.heard:
			return 1, errors.New("its kernel has panicked")
		case <-ctx.Done():
			return 1, context.Cause(ctx)
		}
	}
}

// job is the script that runs argv in the machine, and says on the terminal that it is about to, and how it ended.
func job(mark, dir string, env, argv []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "printf '%%s up\\n' %s\n", quote(mark))
	fmt.Fprintf(&b, "env -i --chdir=%s --", quote(dir))
	for _, word := range append(env, argv...) {
		b.WriteString(" " + quote(word))
	}
	fmt.Fprintf(&b, "\nprintf '%%s %%s\\n' %s $?\n", quote(mark))
	// The host ends the machine when it has read that.
	b.WriteString("exec sleep infinity\n")
	return b.String()
}

// quote makes one word of a POSIX shell out of a string.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// prepareVM returns the root tree and the disk image of virtual machines. The first call on a host makes the image, which
// takes a few seconds; it lies beside the tree that it is made from.
func prepareVM(ctx context.Context) (tree, image string, err error) {
	if runtime.GOARCH != "amd64" {
		return "", "", errors.New("the virtual machine is user-mode Linux, which exists for amd64 only: run this on an amd64 host")
	}
	tree, err = Prepare(ctx)
	if err != nil {
		return "", "", err
	}
	entry := filepath.Dir(tree)
	unlock, err := lock(ctx, filepath.Join(filepath.Dir(entry), "lock"))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	sum := sha256.Sum256([]byte(vmImageScript + "\x00" + vmInsideScript))
	image = filepath.Join(entry, "vm-"+hex.EncodeToString(sum[:])[:12]+".img")
	if _, err := os.Stat(image); !errors.Is(err, fs.ErrNotExist) {
		return tree, image, err
	}
	if err := buildImage(ctx, tree, image); err != nil {
		return "", "", fmt.Errorf("build the virtual machine's disk: %w", err)
	}
	return tree, image, nil
}

// buildImage makes the image under another name, so that one that has its name is complete, and removes old ones.
func buildImage(ctx context.Context, tree, image string) error {
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(image), "vm-*"))
	for _, path := range old {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > keepUnused {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	mountpoint, err := os.MkdirTemp("", "machine-image-")
	if err != nil {
		return err
	}
	defer os.Remove(mountpoint)
	tmp := image + ".part"
	cmd := exec.Command("unshare", "--mount", "--fork", "--pid", "--kill-child", "--", "/bin/sh", "-c", vmImageScript,
		"machine-image", tree, mountpoint, filepath.Dir(tmp), filepath.Base(tmp), vmInsideScript)
	cmd.Env = []string{"PATH=" + Path}
	if err := runQuietly(ctx, "mke2fs", cmd); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return os.Rename(tmp, image)
}
