package config

// AccessLog is where a service's requests are logged.
type AccessLog string

// The places.
const (
	AccessLogOff     AccessLog = ""
	AccessLogAuto    AccessLog = "auto"    // the journal, or where there is none as JSON
	AccessLogJournal AccessLog = "journal" // the same, said explicitly
	AccessLogJSON    AccessLog = "json"    // lines on the daemon's standard output
)

func accessLog(into *AccessLog) reader {
	return func(v any) *problem {
		switch v := v.(type) {
		case bool:
			*into = AccessLogOff
			if v {
				*into = AccessLogAuto
			}
			return nil
		case string:
			return choice(into, AccessLogJournal, AccessLogJSON)(v)
		}
		return mismatch(`true, false, "journal" or "json"`, v)
	}
}
