package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tenement.dev/internal/tenant"
)

// What is wrong with calendar times is told with all that is wrong otherwise.
func TestLoadChecked(t *testing.T) {
	file := filepath.Join(world(t), "tenement.toml")
	text := "[service.b]\ncommand = \"/bin/sh\"\nschedule = [\"x\", \"good\",\n\"y\"]\ncolour = 1\n[service.a]\ncommand = \"/bin/sh\"\nschedule = [\n\"x\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := LoadChecked(file, func(entry string) error {
		switch entry {
		case "x":
			return &tenant.Error{Msg: "x is bad", Hint: "write good", Err: errors.New("not for people")}
		case "y":
			return errors.New("y is bad")
		}
		return nil
	})
	want := file + ":3: service.b.schedule: x is bad; write good\n" +
		file + ":4: service.b.schedule: y is bad\n" +
		file + ":5: service.b.colour: unknown key; " + suggest("colour", names(serviceKeys)) + "\n" +
		file + ":9: service.a.schedule: x is bad; write good"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if err := os.WriteFile(file, []byte("[service.b]\ncommand = \"/bin/sh\"\nschedule = [\"x\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadChecked(file, func(string) error { return nil }); err != nil {
		t.Errorf("got %v, want no faults", err)
	}
	if _, err := Load(filepath.Join(filepath.Dir(file), "absent.toml")); !errors.Is(err, ErrNoFile) {
		t.Errorf("no file: got %v, want ErrNoFile", err)
	}
}
