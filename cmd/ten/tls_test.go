package main

import (
	"testing"

	"tenement.dev/internal/certs"
	"tenement.dev/internal/config"
)

// What [settings.tls] says of an ACME server is what is asked, and how often.
func TestAuthority(t *testing.T) {
	own := config.TLS{Email: "ops@example.com", Directory: "https://ca.example/dir", DirectoryCA: "/ca.pem", OrdersPerHour: 3, OrdersPerDomain: 7}
	for _, c := range []struct {
		what string
		tls  config.TLS
		want certs.ACME
	}{
		{"a server of one's own", own, certs.ACME{Directory: "https://ca.example/dir", RootCA: "/ca.pem", Email: "ops@example.com", PerHour: 3, PerDomain: 7}},
		{"staging", config.TLS{Staging: true, OrdersPerHour: 1, OrdersPerDomain: 1}, certs.ACME{Directory: certs.LetsEncryptStaging, PerHour: 1, PerDomain: 1}},
	} {
		if got := *authority(c.tls); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.what, got, c.want)
		}
	}
}
