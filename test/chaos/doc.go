// Package chaos lets everything go wrong at once, at random: visitors that leave or dawdle,
// apps that die, a daemon that is killed, a bus that restarts, a manager that reloads, and
// an operator who stops, restarts, pauses and destroys, programs that ask the API, follow its
// streams and leave them, over 50 tenants whose timeouts are so short
// that they doze and sleep between two requests.
//
// Each request's outcome is accounted for. It may fail only where a process that it needed
// was ended meanwhile, and must say so; what an app has acknowledged is there from then on,
// at that tenant alone, once. In the end nothing may be left of any of it.
//
// TENEMENT_CHAOS is for how long (20s); `make chaos` takes five minutes. TENEMENT_SEED
// repeats the choices of a run, though not the machine's timing.
package chaos
