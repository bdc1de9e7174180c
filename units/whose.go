package units

import (
	"strings"

	"tenement.dev/internal/tenant"
)

// dataIn comes, in a unit's description, before the data directory.
const dataIn = ", data in "

// description says what a unit is, and whose: two daemons after each other, with data
// directories of their own, give their instances the same names.
func (h Host) description(what string, id tenant.ID) string {
	text := "Tenement " + what + " " + id.String()
	if h.RealDataRoot != "" {
		text += dataIn + h.RealDataRoot
	}
	return text
}

// DataOf gives the data directory (Host.RealDataRoot) of the daemon that made a unit, as
// its description tells; empty where that does not.
func DataOf(description string) string {
	_, data, _ := strings.Cut(description, dataIn)
	return data
}
