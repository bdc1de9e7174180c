// Package packaging tests what `make package` makes, and `ten install`, on machines that
// know nothing of Tenement: installation, use, upgrade under load, reboot, removal, purge.
// Its tests run on the host and have machines of their own, which they reboot.
package packaging
