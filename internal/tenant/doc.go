// Package tenant is the vocabulary that every other package speaks: what an
// instance is called (ID), what it is made of (Spec), what it is doing (State,
// Snapshot), how a proxy reaches it (Endpoint) and how its failures are told to
// people (Error). It has no behaviour beyond parsing, printing and comparing, and
// it imports the standard library only.
//
// # States
//
//	           connect              idle doze_timeout            idle idle_timeout
//	asleep ───────────► waking ──► awake ───────────► dozing ──────────────► stopping ──► asleep
//	                       │          ▲  ◄──connect──── │
//	                       ▼          └─────────────────┘
//	                    failed  (too many failed starts in the restart window)
//
// awake: the app runs. dozing: its processes are frozen, memory reclaimed, and the
// next connection thaws it. asleep: no process, no memory. failed: starts are no
// longer tried until somebody asks for it.
package tenant
