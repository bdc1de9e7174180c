// Package journaltest makes journals of any size for tests and measurements: entries of
// many tenants as journald would have stored them, by systemd-journal-remote(8) from the
// export format (systemd.io/JOURNAL_EXPORT_FORMATS).
//
// The same Options always give the same entries.
package journaltest
