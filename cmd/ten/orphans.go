package main

import (
	"fmt"

	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// checkOrphans is what doctor says of instances that nobody reaches: their service is not in
// tenement.toml any more, or there are units of them and the registry does not know them.
func checkOrphans(cfg *config.Config, list []tenant.Snapshot, loaded []units.Status) (checks []keeper.Check) {
	var lost, unknown []string
	registered := make(map[tenant.ID]bool, len(list))
	for _, s := range list {
		registered[s.ID] = true
		if cfg.Services[s.ID.Service] == nil {
			lost = append(lost, s.ID.String())
		}
	}
	for _, status := range loaded {
		if !registered[status.ID] {
			unknown = append(unknown, status.ID.String())
		}
	}
	if len(lost) > 0 {
		checks = append(checks, keeper.Check{
			Name: "services", Detail: fmt.Sprintf("tenement.toml has no service for %s: their hosts are a 404", some(lost)),
			Hint: "put the service back under its name, or `ten destroy` them; `ten export` and `ten import --as` move data to another name",
		})
	}
	if len(unknown) > 0 {
		checks = append(checks, keeper.Check{
			Name: "registry", Detail: fmt.Sprintf("it does not know %s, of which there are units: their hosts are a 404", some(unknown)),
			Hint: "where the registry was lost, put back a copy, or `ten spawn` them; else `systemctl stop` ends them",
		})
	}
	return checks
}
