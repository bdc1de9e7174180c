package proxy

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestKeepAwakeHeader(t *testing.T) {
	b := &backend{leases: make(chan time.Duration, 100)}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()[tenant.KeepAwakeHeader] = r.Header["Say"]
		if r.Header.Get("Say") == "" {
			delete(w.Header(), tenant.KeepAwakeHeader)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	const none = -1
	for _, c := range []struct {
		say  []string
		want time.Duration
	}{
		{nil, none},
		{[]string{"10m"}, 10 * time.Minute},
		{[]string{"90"}, 90 * time.Second},
		{[]string{"1h30m"}, 90 * time.Minute},
		{[]string{"0"}, 0},
		{[]string{"0s"}, 0},
		{[]string{"99999999999999999999"}, none},
		{[]string{"9999999999999999999"}, 100 * 365 * 24 * time.Hour},
		{[]string{"-5m"}, none},
		{[]string{"-5"}, none},
		{[]string{"soon"}, none},
		{[]string{"1e9"}, none},
		{[]string{"10m", "20m"}, none},
	} {
		var header []string
		for _, s := range c.say {
			header = append(header, "Say", s)
		}
		resp, err := send(t, address, header...)
		if err != nil || resp.StatusCode != http.StatusTeapot || resp.Header[tenant.KeepAwakeHeader] != nil {
			t.Errorf("%q: got %v %+v, want the answer without the header", c.say, err, resp)
			continue
		}
		got := time.Duration(none)
		select {
		case got = <-b.leases:
		default:
		}
		if got != c.want {
			t.Errorf("%q: got %v, want %v", c.say, got, c.want)
		}
	}
}

// send makes a request with headers that may be repeated.
func send(t *testing.T, address string, header ...string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = "a.app.test", true
	for pair := range slices.Chunk(header, 2) {
		req.Header.Add(pair[0], pair[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// A client cannot pretend to be a schedule.
func TestScheduleHeaderOfAClient(t *testing.T) {
	got := make(chan []string, 1)
	address, _ := serve(t, &backend{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Header[tenant.ScheduleHeader]
	}))
	if _, err := send(t, address, tenant.ScheduleHeader, "hourly"); err != nil {
		t.Fatal(err)
	}
	if values := <-got; values != nil {
		t.Errorf("got %q at the app, want nothing", values)
	}
}
