// Package simulate lets many tenants have a day's visitors in minutes, on a real systemd,
// twice: as Tenement has them, and with all staying awake once they are. `make simulate` runs
// it in full; without flags it is a smoke run that keeps it from rotting.
//
// The trace is made up, from a seed: how much each tenant is visited is heavy-tailed, when
// follows the hours of a day, and a visit is a few requests. Whatever takes time is as it is,
// timeouts are as compressed as the day: what is lost is that a wake takes a larger part of it.
package simulate
