// Package cgroup reads what instances use from the cgroup file system, without asking
// the service manager (cgroups(7)). It changes nothing.
package cgroup
