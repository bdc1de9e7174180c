package client_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Over the network a token goes along, and nowhere else.
func TestRemote(t *testing.T) {
	d, _ := start(t)
	made, secret, err := d.Tokens.Create(t.Context(), tenant.Token{})
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewRemote("http://"+d.TCP, secret)
	defer c.Close()
	if v, err := c.Version(t.Context()); err != nil || v.Version != "1.2.3" {
		t.Errorf("got %+v, %v", v, err)
	}
	if list, err := c.Tokens(t.Context()); err != nil || len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("got %+v, %v", list, err)
	}
	bad := client.NewRemote("http://"+d.TCP, "ten_no")
	defer bad.Close()
	if _, err := bad.Version(t.Context()); tenant.CodeOf(err) != wire.CodeUnauthorized {
		t.Errorf("a bad token: got %v", err)
	}
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody else got %q", r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	sent := client.NewRemote(elsewhere.URL, secret)
	defer sent.Close()
	_, err = sent.Version(t.Context())
	if e := told(t, err); !strings.Contains(e.Msg, "sends elsewhere") || !strings.Contains(e.Msg, thief.URL) {
		t.Errorf("a redirect: got %v", err)
	}
}
