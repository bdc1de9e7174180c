// Package certs gives the certificates for TLS: from files, which are read again when
// they change, and from an ACME server (RFC 8555), which are got with the first
// handshake for a host and renewed by themselves.
//
// Invariants:
//
//   - A name that is not served here gets no certificate, and asking for one costs a
//     look-up: no order at the ACME server, no wake.
//   - What the ACME server does or does not has no effect on other hosts: a failed order
//     is not repeated for a while, and orders are bounded per hour and, for each domain
//     that somebody has registered, per week.
//   - Sessions can be resumed after a restart: the keys of session tickets are kept.
package certs
