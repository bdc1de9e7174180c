// Package metrics counts what the daemon does, for Prometheus (prometheus.io/docs,
// "Exposition formats"). What instances use is read when somebody asks for it, from the
// cgroup file system; the service manager is never asked.
//
// Invariants:
//
//   - Counting a request allocates nothing and takes no lock.
//   - The number of series is bounded: labels are names of configured services, of a
//     bounded number of registered instances, and of constants. What clients send is in
//     none of them: a request for another service counts as one of service "".
//   - Series of what a service did stay when its instances are destroyed, so that counters
//     do not go down.
package metrics
