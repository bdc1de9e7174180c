package main

import (
	"fmt"
	"log/slog"

	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// checkOrphans is what doctor says of instances that nobody reaches: their service is not in
// tenement.toml any more, or there are units of them and the registry does not know them.
func checkOrphans(cfg *config.Config, list []tenant.Snapshot, loaded []units.Status) (checks []keeper.Check) {
	var unknown []string
	registered := make(map[tenant.ID]bool, len(list))
	for _, s := range list {
		registered[s.ID] = true
	}
	for _, status := range loaded {
		if !registered[status.ID] {
			unknown = append(unknown, status.ID.String())
		}
	}
	if lost := unserved(cfg, list); len(lost) > 0 {
		checks = append(checks, keeper.Check{Name: "services", Detail: unservedText(lost), Hint: unservedHint})
	}
	if len(unknown) > 0 {
		checks = append(checks, keeper.Check{
			Name: "registry", Detail: fmt.Sprintf("it does not know %s, of which there are units: their hosts are a 404", some(unknown)),
			Hint: "where the registry was lost, put back a copy, or `ten spawn` them; else `systemctl stop` ends them",
		})
	}
	return checks
}

// unserved lists the instances whose service the configuration does not have.
func unserved(cfg *config.Config, list []tenant.Snapshot) (lost []string) {
	for _, s := range list {
		if cfg.Services[s.ID.Service] == nil {
			lost = append(lost, s.ID.String())
		}
	}
	return lost
}

const unservedHint = "put the service back under its name, or `ten destroy` them; `ten export` and `ten import --as` move data to another name"

func unservedText(lost []string) string {
	return fmt.Sprintf("tenement.toml has no service for %s: their hosts are a 404", some(lost))
}

// warnOfUnserved tells who has reloaded that it has taken instances from their visitors: a
// file that was cut off by its writer can be right, and without most of the services.
func warnOfUnserved(lost []string, log *slog.Logger) {
	if len(lost) > 0 {
		log.Warn(unservedText(lost), "hint", unservedHint)
	}
}
