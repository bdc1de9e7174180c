package tenant

import (
	"net/http"
	"testing"
	"time"
)

func FuzzTakeKeepAwake(f *testing.F) {
	for _, seed := range []string{"10m", "0", "-1", "1e309h", "99999999999999999999", "", " 5", "5 ", "1h1h", "NaN"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{KeepAwakeHeader: {value}}
		d, ok, err := TakeKeepAwake(h)
		if !ok || len(h) != 0 {
			t.Fatalf("%q: got %v and header %v left", value, ok, h)
		}
		if err == nil && d < 0 {
			t.Errorf("%q: got %v", value, d)
		}
	})
}

func TestHoldsInWords(t *testing.T) {
	for want, h := range map[string]Hold{
		"1 request in flight":                                        {Kind: HoldRequests, Count: 1},
		"2 requests in flight":                                       {Kind: HoldRequests, Count: 2},
		"traffic on 1 stream":                                        {Kind: HoldStreams, Count: 1},
		"a keep-awake lease of the operator":                         {Kind: HoldLease, Holder: HolderOperator},
		"it uses 50 % of a core":                                     {Kind: HoldCPU, Cores: 0.5},
		"it uses 4 % of a core, and waits for more 91 % of the time": {Kind: HoldCPU, Cores: 0.04, Waits: 0.91},
		"no timeout of its service applies":                          {Kind: HoldConfig},
		"the last attempt to let it rest has failed":                 {Kind: HoldRetry},
		"whatever": {Kind: "whatever"},
	} {
		if got := h.String(); got != want {
			t.Errorf("%s: got %q, want %q", h.Kind, got, want)
		}
	}
	if _, ok, err := TakeKeepAwake(http.Header{}); ok || err != nil {
		t.Errorf("without the header: got %v, %v", ok, err)
	}
	if d, err := ParseSeconds("9999999999999999999"); err != nil || d != 100*365*24*time.Hour {
		t.Errorf("got %v, %v, want a century", d, err)
	}
}
