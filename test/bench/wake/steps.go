package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/bench/platform"
	"tenement.dev/units"
)

// stepUID is whom the units whose steps are timed run as: the last of the range of
// instances, which none on a throwaway machine has.
const (
	stepUID  = keeper.LastUID
	stepUser = "tenement-bench-steps"
	userdb   = "/run/userdb"
)

// variant is a unit with an instance's properties but for something. What the others have
// and it has not is what that costs.
type variant struct {
	name   string
	change func([]units.Property) []units.Property
}

func without(names ...string) func([]units.Property) []units.Property {
	return func(props []units.Property) []units.Property {
		return slices.DeleteFunc(props, func(p units.Property) bool { return slices.Contains(names, p.Name) })
	}
}

// The properties that make mounts, and those that make filters for system calls.
var (
	mounts  = []string{"PrivatePIDs", "PrivateDevices", "PrivateIPC", "ProtectSystem", "ProtectProc", "TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths", "InaccessiblePaths"}
	filters = []string{"SystemCallFilter", "SystemCallArchitectures", "RestrictSUIDSGID", "RestrictNamespaces", "RestrictAddressFamilies", "LockPersonality"}
)

var variants = []variant{
	{"as it is", without()},
	{"nothing but the program", func([]units.Property) []units.Property { return nil }},
	{"without any mount", without(mounts...)},
	{"without PrivatePIDs=", without("PrivatePIDs")},
	{"without PrivateDevices=", without("PrivateDevices")},
	{"without PrivateIPC=", without("PrivateIPC")},
	{"without ProtectSystem=", without("ProtectSystem")},
	{"without TemporaryFileSystem=", without("TemporaryFileSystem", "BindPaths")},
	{"with InaccessiblePaths= for what is bound shut", inaccessible},
	{"without any system call filter", without(filters...)},
	{"without SystemCallFilter=", without("SystemCallFilter")},
	{"without the other filters", without(filters[1:]...)},
	{"without User=", without("User")},
}

// inaccessible closes by InaccessiblePaths= what is closed by binding a node without
// permissions over it.
func inaccessible(props []units.Property) []units.Property {
	var shut []string
	for i, p := range props {
		binds, ok := p.Value.([]units.BindPath)
		if !ok {
			continue
		}
		props[i].Value = slices.DeleteFunc(slices.Clone(binds), func(b units.BindPath) bool {
			if !strings.HasPrefix(b.Source, "/run/systemd/inaccessible/") {
				return false
			}
			shut = append(shut, b.Destination)
			return true
		})
	}
	return append(props, units.Property{Name: "InaccessiblePaths", Value: shut})
}

// runSteps starts a program that does nothing n times in each of the variants in turns,
// and prints what processor time the machine and what time the starts took.
func runSteps(ctx context.Context, repo string, n int) (err error) {
	dir, err := makeDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(runtimeDir)) }()
	systemd, err := dbusctl.Dial(ctx, dbusctl.Options{
		Scope: dbusctl.System, Prefix: "tenement-", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	defer systemd.Close()
	instance, err := instanceProperties(ctx, systemd, repo, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, withdrawUser()) }()
	if err := publishUser(); err != nil {
		return err
	}
	hardware, err := describeMachine(ctx)
	if err != nil {
		return err
	}
	cpu, took := make([][]float64, len(variants)), make([][]float64, len(variants))
	for round := range n + 1 {
		for i := range variants {
			// Each round begins elsewhere, and the first does not count.
			v := (i + round) % len(variants)
			unit := units.Unit{Name: fmt.Sprintf("tenement-bench-%d-%d.service", round, i)}
			unit.Properties = append(variants[v].change(slices.Clone(instance)),
				units.Property{Name: "CollectMode", Value: "inactive-or-failed"},
				units.Property{Name: "Type", Value: "oneshot"},
				units.Property{Name: "ExecStartEx", Value: []units.Exec{{Path: "/bin/true", Argv: []string{"true"}}}})
			if err := settle(ctx); err != nil {
				return err
			}
			before, begun := groupTime("/sys/fs/cgroup"), time.Now()
			if err := systemd.StartTransient(ctx, unit); err != nil {
				return fmt.Errorf("start %s: %w", variants[v].name, err)
			}
			ms := milliseconds(time.Since(begun))
			if err := settle(ctx); err != nil {
				return err
			}
			if round > 0 {
				cpu[v] = append(cpu[v], groupTime("/sys/fs/cgroup")-before)
				took[v] = append(took[v], ms)
			}
		}
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", round, n)
	}
	fmt.Fprint(os.Stderr, "\r                    \r")
	hardware.LoadAfter = platform.Load()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	fmt.Printf("%s\nMedians of %d starts of /bin/true as an instance at level namespace; %d mounts on the machine.\n\n", hardware, n, strings.Count(string(table), "\n"))
	fmt.Printf("%-48s %12s %8s %12s %8s\n", "", "processor ms", "", "to start, ms", "")
	for v := range variants {
		c, t := percentile(cpu[v], 50), percentile(took[v], 50)
		fmt.Printf("%-48s %12.1f %+8.1f %12.1f %+8.1f\n", variants[v].name, c, c-percentile(cpu[0], 50), t, t-percentile(took[0], 50))
	}
	return nil
}

// instanceProperties are those of an instance's service on this machine, but for what it
// executes.
func instanceProperties(ctx context.Context, systemd *dbusctl.Client, repo, dir string) ([]units.Property, error) {
	data := filepath.Join(dir, "data")
	host, _, err := keeper.Probe(ctx, systemd, units.Host{
		RuntimeDir: runtimeDir, DataRoot: data, RealDataRoot: data, InitPath: filepath.Join(repo, initPath),
	})
	if err != nil {
		return nil, err
	}
	id := tenant.ID{Service: "bench", Name: instance}
	spec := tenant.Spec{
		ID: id, Argv: []string{"/bin/true"}, WorkDir: "/", DataRoot: data, DataDir: filepath.Join(data, id.Service, id.Name),
		Isolation: tenant.IsolationNamespace, Network: tenant.NetworkHost, Listen: tenant.ListenPort, Port: barePort,
		StartupTimeout: stepTimeout, StopGrace: stepTimeout,
	}
	if err := os.MkdirAll(spec.DataDir, 0o755); err != nil {
		return nil, err
	}
	_, service, err := host.Render(spec, stepUser)
	if err != nil {
		return nil, err
	}
	return without("CollectMode", "Type", "NotifyAccess", "ExecStartEx")(service.Properties), nil
}

// publishUser makes the units' user known, as instances' are (nss-systemd(8)).
func publishUser() error {
	record := map[string]map[string]any{
		".group": {"groupName": stepUser, "gid": stepUID, "disposition": "system"},
		".user":  {"userName": stepUser, "uid": stepUID, "gid": stepUID, "disposition": "system", "homeDirectory": "/"},
	}
	if err := os.MkdirAll(userdb, 0o755); err != nil {
		return err
	}
	for _, ext := range []string{".group", ".user"} {
		text, err := json.Marshal(record[ext])
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(userdb, stepUser+ext), text, 0o644); err != nil {
			return err
		}
		if err := os.Symlink(stepUser+ext, filepath.Join(userdb, strconv.Itoa(stepUID)+ext)); err != nil {
			return err
		}
	}
	return nil
}

// withdrawUser removes what publishUser has made.
func withdrawUser() error {
	var errs []error
	for _, base := range []string{stepUser, strconv.Itoa(stepUID)} {
		for _, ext := range []string{".group", ".user"} {
			if err := os.Remove(filepath.Join(userdb, base+ext)); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
