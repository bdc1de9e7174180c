// Package systemdtest holds the tests of dbusctl that need a real systemd: they run in
// a throwaway machine, as root against the system's manager and again as an ordinary
// user against that user's. They stop buses and execute managers anew, so they are
// nothing for a machine that somebody uses.
package systemdtest
