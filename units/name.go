package units

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"tenement.dev/internal/tenant"
)

// Prefix begins the name of each unit of ours; Pattern matches all of them
// (systemd.unit(5), glob patterns).
const (
	Prefix  = "tenement-"
	Pattern = "tenement-*@*"
)

// ServiceName is the service unit of an instance, "tenement-notes@alice.service".
// Both halves of an ID are DNS labels, all of whose characters a unit name may have,
// so they stand in it as they are and people can type it.
func ServiceName(id tenant.ID) string { return baseName(id) + ".service" }

// SocketName is the socket unit of an instance.
func SocketName(id tenant.ID) string { return baseName(id) + ".socket" }

// ServicePrefix begins the names of the units of all instances of a service.
func ServicePrefix(service string) string { return Prefix + service + "@" }

func baseName(id tenant.ID) string { return ServicePrefix(id.Service) + id.Name }

// ParseName gives the instance that a service or socket unit belongs to.
func ParseName(name string) (tenant.ID, bool) {
	base, ok := strings.CutSuffix(name, ".service")
	if !ok {
		if base, ok = strings.CutSuffix(name, ".socket"); !ok {
			return tenant.ID{}, false
		}
	}
	base, ok = strings.CutPrefix(base, Prefix)
	if !ok {
		return tenant.ID{}, false
	}
	service, instance, ok := strings.Cut(base, "@")
	id := tenant.ID{Service: service, Name: instance}
	return id, ok && tenant.IsLabel(service) && tenant.IsLabel(instance)
}

// Slice holds all instances. Weights count among siblings (systemd.resource-control(5)):
// with a slice for each service those of two services would not meet.
const Slice = "tenement.slice"

// ControlGroup is the path of an instance's service within the manager's own control
// group (systemd.slice(5)).
func ControlGroup(id tenant.ID) string {
	return Slice + "/" + ServiceName(id)
}

// maxFileName is how long FileName lets a name be, in bytes: with the longest
// directory that we use it keeps a socket's path within the 107 bytes of
// sockaddr_un (unix(7)).
const maxFileName = 56

// FileName names files and directories of an instance, such as its doorbell. A name
// too long for a socket's path is cut and made unique by a hash.
func FileName(id tenant.ID) string {
	name := id.Service + "@" + id.Name
	if len(name) <= maxFileName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:maxFileName-17] + "-" + hex.EncodeToString(sum[:8])
}
