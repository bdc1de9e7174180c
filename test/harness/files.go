package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// appDir is where the machine has the apps.
const appDir = "/opt/tenement-test"

// install puts a program there, once. By cp: a program that a process with many threads
// has written itself cannot always be run at once (go.dev/issue/22315).
func install(from, to string) error {
	if exists(to) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w: %s", to, err, out)
	}
	return nil
}

// otherInit makes a directory of programs with another ten-init.
func otherInit(bin, name string) (dir string, err error) {
	dir = filepath.Join(appDir, "with-"+name)
	for from, to := range map[string]string{"ten": "ten", "ten-init": "ten-init.real", name: "ten-init"} {
		err = errors.Join(err, install(filepath.Join(bin, from), filepath.Join(dir, to)))
	}
	return dir, err
}

// newDir makes a directory that instances' users can pass through.
func (s *Server) newDir() string {
	base := "/srv"
	if s.rootless {
		base = "/home/dev"
	}
	dir, err := os.MkdirTemp(base, "test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil && s.rootless {
		err = os.Chown(dir, devUID, devUID)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// WriteFile puts a file into the server's directory.
func (s *Server) WriteFile(name, text string) {
	s.tb.Helper()
	path := filepath.Join(s.Dir, name)
	if name == "tenement.toml" {
		text = withoutArmed(text)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "{bin}", appDir)), mode); err != nil {
		s.tb.Fatal(err)
	}
	if s.rootless {
		if err := os.Chown(path, devUID, devUID); err != nil {
			s.tb.Fatal(err)
		}
	}
}

// withoutArmed has a configuration arm nobody that does not say how many: what a test has
// stopped shall stay so. No line changes its number.
func withoutArmed(text string) string {
	switch {
	case strings.Contains(text, "armed"):
		return text
	case strings.Contains(text, "[settings]\n"):
		at := strings.Index(text, "[settings]\n") + len("[settings]\n")
		end := at + strings.Index(text[at:]+"\n[", "\n[")
		return strings.TrimSuffix(text[:end], "\n") + "\narmed = 0" + text[end:]
	default:
		return text + "\n[settings]\narmed = 0\n"
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
