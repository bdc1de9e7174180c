// Package calendar knows when the calendar times of systemd come (systemd.time(7),
// "Calendar Events"). It asks `systemd-analyze calendar`, so that they mean here what
// they mean in a timer unit; each question runs a child process for some milliseconds.
package calendar
