// Package probe looks at a process from within: its namespaces, its cgroup, its
// privileges. An isolation property that a machine cannot give is often ignored
// without an error; what the process has tells the truth.
package probe
