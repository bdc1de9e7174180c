// Package templates holds the texts that Tenement writes for others: what is in them is
// decided here, where it goes elsewhere.
package templates
