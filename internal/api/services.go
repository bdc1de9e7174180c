package api

import (
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// listServices tells of the services, and counts what their instances do.
func (a *API) listServices(w http.ResponseWriter, r *http.Request) error {
	list := wire.Services{Services: []wire.Service{}}
	if a.services != nil {
		list.Services = append(list.Services, a.services()...)
	}
	at := make(map[string]*wire.Service, len(list.Services))
	for i := range list.Services {
		list.Services[i].Instances = map[tenant.State]int{}
		at[list.Services[i].Name] = &list.Services[i]
	}
	for id, now := range a.instances.Glance() {
		if service := at[id.Service]; service != nil {
			service.Instances[now.State]++
			service.InFlight += now.InFlight
		}
	}
	a.reply(w, r, http.StatusOK, list)
	return nil
}
