package config

import (
	"errors"
	"path/filepath"
	"testing"

	"tenement.dev/internal/tenant"
)

func TestCheckSchedules(t *testing.T) {
	dir := world(t)
	c := must(t, dir, "[service.b]\ncommand = \"app\"\nschedule = [\"x\", \"good\",\n\"y\"]\n[service.a]\ncommand = \"app\"\nschedule = [\n\"x\"]\n")
	err := c.CheckSchedules(func(entry string) error {
		switch entry {
		case "x":
			return &tenant.Error{Msg: "x is bad", Hint: "write good", Err: errors.New("not for people")}
		case "y":
			return errors.New("y is bad")
		}
		return nil
	})
	file := filepath.Join(dir, "tenement.toml")
	want := file + ":3: service.b.schedule: x is bad; write good\n" +
		file + ":4: service.b.schedule: y is bad\n" +
		file + ":8: service.a.schedule: x is bad; write good"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if err := c.CheckSchedules(func(string) error { return nil }); err != nil {
		t.Errorf("got %v, want no faults", err)
	}
}
