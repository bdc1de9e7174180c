// Package rawapp is an app for tests that speaks HTTP byte by byte: it keeps all that it
// receives, and answers with the very bytes that the request's target asks for, however
// wrong they are. net/http would neither show the one nor say the other.
package rawapp
