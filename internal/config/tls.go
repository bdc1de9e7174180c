package config

import (
	"fmt"
	"net/url"
	"time"

	"github.com/BurntSushi/toml"
)

// TLS is the table [settings.tls].
type TLS struct {
	// Enabled is whether the table is there.
	Enabled bool
	// Certs and Keys are the absolute paths of PEM files: Keys[i] is of Certs[i].
	Certs, Keys []string
	// ACME is whether certificates are got from an ACME server for hosts that no file is
	// for: Let's Encrypt's, its staging server where Staging is set, or the one with the
	// URL Directory, whose own certificate is signed by the authority in the file
	// DirectoryCA, if that is not empty. Email is told of trouble.
	ACME, Staging                 bool
	Email, Directory, DirectoryCA string
	// OrdersPerHour bounds all orders of certificates, OrdersPerDomain those in a week for
	// the hosts below one registered domain.
	OrdersPerHour, OrdersPerDomain int
	// Redirect is whether plain HTTP is sent to HTTPS. HSTS is for how long browsers are
	// to use nothing else (RFC 6797), 0 for no word of it.
	Redirect bool
	HSTS     time.Duration

	table map[string]any
}

// tls reads [settings.tls].
func (d *decoder) tls(path toml.Key) {
	t := &d.config.Settings.TLS
	if t.table == nil {
		return
	}
	t.Enabled = true
	given, bad := fill(d, t, path, t.table, tlsKeys)
	fault := func(key, msg, hint string) { d.fault(child(path, key), &problem{msg: msg, hint: hint}) }
	switch {
	case bad["cert"] || bad["key"]:
	case len(t.Certs) != len(t.Keys):
		key := "cert"
		if given["key"] {
			key = "key"
		}
		fault(key, fmt.Sprintf("there are %d certificates and %d keys", len(t.Certs), len(t.Keys)), "give each certificate its key, in the same order")
	case len(t.Certs) == 0 && !t.ACME:
		d.fault(path, &problem{msg: "there is no certificate", hint: "set cert and key, or acme = true"})
	}
	if t.Directory != "" {
		if u, err := url.Parse(t.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
			fault("directory", fmt.Sprintf("%q is not the URL of an ACME server", t.Directory), "it begins with https://")
		}
		if t.Staging {
			fault("staging", "directory names another server", "leave one of them out")
		}
	}
	for _, key := range []string{"email", "staging", "directory", "directory_ca", "orders_per_hour", "orders_per_domain"} {
		if given[key] && !t.ACME && !bad["acme"] {
			fault(key, "it is for acme = true only", "")
		}
	}
	for _, list := range [][]string{t.Certs, t.Keys} {
		for i := range list {
			list[i] = absolute(d.config.Dir, list[i])
		}
	}
	if t.DirectoryCA != "" {
		t.DirectoryCA = absolute(d.config.Dir, t.DirectoryCA)
	}
	t.table = nil
}

// oneOrMore takes a string or an array of strings.
func oneOrMore(into *[]string) reader {
	return func(v any) *problem {
		if s, ok := v.(string); ok {
			v = []any{s}
		}
		return texts(into)(v)
	}
}
