package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
)

// lookupTXT asks the DNS server at server(), or where that is empty the system's, for
// the texts of a name's TXT records; a name that has none, or is none, has no texts.
func lookupTXT(server func() string) func(ctx context.Context, name string) ([]string, error) {
	return func(ctx context.Context, name string) ([]string, error) {
		resolver, address := &net.Resolver{}, server()
		if address != "" {
			resolver.PreferGo = true
			resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			}
		}
		texts, err := resolver.LookupTXT(ctx, name+".") // never below the system's own domain
		var failure *net.DNSError
		switch {
		case !errors.As(err, &failure):
			return texts, err
		case failure.IsNotFound:
			return nil, nil
		}
		// Its own text names the server that the system has.
		return nil, fmt.Errorf("ask %s: %s", cmp.Or(address, "the system's DNS server"), failure.Err)
	}
}
