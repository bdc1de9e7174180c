package accesslog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"tenement.dev/internal/tenant"
)

// The longest that what clients choose may be, in bytes.
const (
	maxPath   = 2048
	maxAgent  = 512
	maxHost   = 255
	maxMethod = 32
)

// bound cuts what clients choose.
func bound(a *tenant.Access) {
	a.Path, a.UserAgent = cut(a.Path, maxPath), cut(a.UserAgent, maxAgent)
	a.Host, a.Method = cut(a.Host, maxHost), cut(a.Method, maxMethod)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// MessageID marks the entries (systemd.journal-fields(7), MESSAGE_ID=).
const MessageID = "6c3b1f5a0d9e4a0f9b7e2d64c8a51e37"

// message is an entry in words.
func message(a tenant.Access) string {
	return fmt.Sprintf("%s %s %d, %d bytes in %s ms", a.Method, a.Path, a.Status, a.Bytes, millis(a.Duration))
}

// fields are the journal's.
func fields(a tenant.Access) map[string]string {
	f := map[string]string{
		"MESSAGE_ID":           MessageID,
		"SYSLOG_IDENTIFIER":    "tenement-access",
		"TENEMENT_SERVICE":     a.ID.Service,
		"TENEMENT_METHOD":      a.Method,
		"TENEMENT_HOST":        a.Host,
		"TENEMENT_PATH":        a.Path,
		"TENEMENT_STATUS":      strconv.Itoa(a.Status),
		"TENEMENT_BYTES":       strconv.FormatInt(a.Bytes, 10),
		"TENEMENT_DURATION_MS": millis(a.Duration),
		"TENEMENT_REQUEST_ID":  a.RequestID,
		"TENEMENT_REMOTE":      a.Remote,
		"TENEMENT_USER_AGENT":  a.UserAgent,
	}
	if a.ID.Name != "" {
		f["TENEMENT_INSTANCE"], f["TENEMENT_TENANT"] = a.ID.String(), a.ID.Name
	}
	if a.Wake != "" {
		f["TENEMENT_WAKE"], f["TENEMENT_WAKE_MS"] = string(a.Wake), millis(a.Woke)
	}
	if a.Code != "" {
		f["TENEMENT_ERROR"] = string(a.Code)
	}
	if a.Aborted {
		f["TENEMENT_ABORTED"] = "1"
	}
	return f
}

// millis is in milliseconds, with microseconds behind the point.
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 3, 64)
}

// entry is a line of JSON.
type entry struct {
	Time       time.Time       `json:"time"`
	Service    string          `json:"service"`
	Instance   string          `json:"instance,omitempty"`
	Tenant     string          `json:"tenant,omitempty"`
	Method     string          `json:"method"`
	Host       string          `json:"host"`
	Path       string          `json:"path"`
	Status     int             `json:"status"`
	Bytes      int64           `json:"bytes"`
	DurationMS json.Number     `json:"duration_ms"`
	Wake       tenant.WakeKind `json:"wake,omitempty"`
	WakeMS     json.Number     `json:"wake_ms,omitempty"`
	Error      tenant.Code     `json:"error,omitempty"`
	Aborted    bool            `json:"aborted,omitempty"`
	RequestID  string          `json:"request_id"`
	Remote     string          `json:"remote"`
	UserAgent  string          `json:"user_agent"`
}

func line(a tenant.Access) []byte {
	e := entry{
		Time: a.Begun, Service: a.ID.Service, Tenant: a.ID.Name, Method: a.Method, Host: a.Host, Path: a.Path,
		Status: a.Status, Bytes: a.Bytes, DurationMS: json.Number(millis(a.Duration)), Wake: a.Wake, Error: a.Code,
		Aborted: a.Aborted, RequestID: a.RequestID, Remote: a.Remote, UserAgent: a.UserAgent,
	}
	if a.ID.Name != "" {
		e.Instance = a.ID.String()
	}
	if a.Wake != "" {
		e.WakeMS = json.Number(millis(a.Woke))
	}
	text, err := json.Marshal(e)
	if err != nil { // there is nothing in it that cannot be encoded
		return nil
	}
	return append(text, '\n')
}
