package examples

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tenement.dev/test/harness"
)

// buildKind is the kind of a README's blocks that make what tenement.toml runs. Compilers and package managers are the
// host's, so they run there, before the machine is booted.
const buildKind = "build"

// buildAll runs the build blocks of all examples, each in a copy of its folder.
func buildAll() error {
	readmes, err := filepath.Glob("*/README.md")
	if err != nil {
		return err
	}
	for _, readme := range readmes {
		if _, err := built(filepath.Dir(readme)); err != nil {
			return err
		}
	}
	return nil
}

// built gives the directory of an example as it is after its README's build blocks: its folder, or where there are some, a
// copy of it in bin/_examples, which is made unless it is there. ("_" hides it from `go list ./...`.)
func built(folder string) (dir string, err error) {
	blocks, err := harness.Blocks(filepath.Join(folder, "README.md"))
	if err != nil {
		return "", err
	}
	var script strings.Builder
	for _, b := range blocks {
		if b.Kind == buildKind {
			script.WriteString(b.Text + "\n")
		}
	}
	if script.Len() == 0 {
		return folder, nil
	}
	key, err := digest(folder)
	if err != nil {
		return "", err
	}
	all, err := harness.Bin("_examples")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(all, folder+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, build(folder, all, dir, script.String())
}

// build makes dir beside its final place, so that what has its name is complete.
func build(folder, all, dir, script string) error {
	if err := os.MkdirAll(all, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(all, folder+"-*"))
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(all, "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := copyTree(folder, tmp); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-e", "-c", script)
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the machine's C library may be another one
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build examples/%s: %w\n%s\n%s", folder, err, script, out)
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// digest names the files of a folder by what is in them.
func digest(folder string) (string, error) {
	h := sha256.New()
	for _, file := range []string{"../go.mod", "../go.sum"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		h.Write(text)
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintln(h, path, len(text))
		h.Write(text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:12], err
}

// copyTree copies what is in a directory. By cp: a program that this process itself writes cannot always be run, see
// go.dev/issue/22315.
func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-r", from+"/.", to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}
