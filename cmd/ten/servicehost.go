package main

import (
	"fmt"
	"maps"
	"slices"

	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

// checkServiceHosts is what doctor says of services whose own host name is answered by any
// of several instances, since nobody has said which: where these are customers, one is
// shown what is another's. Not ok where there is none.
func checkServiceHosts(cfg *config.Config, domain string, list []tenant.Snapshot) (c keeper.Check, ok bool) {
	instances, weighed := map[string]int{}, map[string]bool{}
	for _, s := range list {
		instances[s.ID.Service]++
		weighed[s.ID.Service] = weighed[s.ID.Service] || s.Weight.Set
	}
	var hosts []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		if cfg.Services[name].ServiceHost && instances[name] > 1 && !weighed[name] {
			hosts = append(hosts, name+"."+domain)
		}
	}
	if len(hosts) == 0 {
		return c, false
	}
	return keeper.Check{
		Name: "service hosts", Detail: fmt.Sprintf("%s: any instance answers, whoever's it is", some(hosts)),
		Hint: "set service_host = false where instances are customers; where they are versions, `ten weight` says which one answers",
	}, true
}
