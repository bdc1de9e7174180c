// Package scale measures what many tenants cost: as many registered as a flag says, some of
// them awake, on a real systemd. `make bench-scale` runs it in full; without flags it is a
// smoke run that keeps it from rotting, and judges nothing.
package scale
