// Package proxy answers requests for instances: it finds the instance by the host
// name, has it woken, and passes the request on.
//
// alice.notes.example.com is the instance notes:alice where a base domain is
// example.com. A request is counted in before the instance is woken and out when its
// response has ended, to the end of the body; see Waker. A host name that names no
// instance costs one look-up and starts nothing.
package proxy
