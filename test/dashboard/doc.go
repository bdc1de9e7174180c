// Package dashboard tests the dashboard as people have it: a real browser, on the test
// machine, against a real daemon with a thousand instances. What a page says to the
// browser's console, what it asks for and what its policy refuses is looked at too.
package dashboard
