package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// access is what a route needs of who uses it.
type access uint8

const (
	// accessUndeclared is a route that was forgotten.
	accessUndeclared access = iota
	// accessAnyone is everybody, known or not.
	accessAnyone
	// accessKnown is admins and tenants; the answer has what they may see.
	accessKnown
	// accessOwner is admins, and the tenant of the instance in the path.
	accessOwner
	// accessWake and accessRestart are admins, and the tenant of the instance in the path
	// if its token allows that.
	accessWake
	accessRestart
	// accessAdmin is admins: root, the daemon's user and the members of its group on this
	// machine, and who has an admin's token.
	accessAdmin
)

// principal is who makes a request.
type principal struct {
	actor tenant.Actor
	admin bool
	// tenant is the name of the instances that are his.
	tenant string
	allow  []tenant.Permission
	// token is the ID of his token, if he has one; it is good until expires, if that is
	// set, or the end of live.
	token   string
	expires time.Time
	live    context.Context
	// about is the instance that the request turns out to be about, if its path names none.
	about tenant.ID
}

// owns reports whether the instance is one that he may look at.
func (p *principal) owns(id tenant.ID) bool {
	return p.admin || p.tenant != "" && p.tenant == id.Name
}

// guest reports whether he is a tenant.
func (p *principal) guest() bool { return !p.admin && p.tenant != "" }

type principalKey struct{}

// who gives who makes a request.
func who(r *http.Request) *principal { return principalOf(r.Context()) }

func principalOf(ctx context.Context) *principal {
	if p, ok := ctx.Value(principalKey{}).(*principal); ok {
		return p
	}
	return &principal{}
}

// admit gives the request with who makes it, or the error if he may not.
func (a *API) admit(r *http.Request, need access) (*http.Request, error) {
	if need == accessAnyone {
		return r, nil
	}
	p, err := a.identify(r)
	if err != nil {
		return r, err
	}
	ctx := tenant.WithActor(context.WithValue(r.Context(), principalKey{}, p), p.actor)
	r = r.WithContext(ctx)
	if p.admin || need == accessKnown {
		return r, nil
	}
	if need == accessAdmin {
		msg := "this token is for looking at " + p.tenant + "'s instances"
		if len(p.allow) > 0 {
			var may []string
			for _, a := range p.allow {
				may = append(may, string(a))
			}
			msg += ", and to " + strings.Join(may, " or ") + " them"
		}
		return r, forbidden(msg, "an admin's token can do that")
	}
	id, err := pathID(r)
	if err != nil {
		return r, err
	}
	if !p.owns(id) {
		return r, forbidden(id.String()+" is not an instance of "+p.tenant, "this token is for the instances called "+p.tenant)
	}
	for _, c := range []struct {
		need access
		may  tenant.Permission
	}{{accessWake, tenant.MayWake}, {accessRestart, tenant.MayRestart}} {
		if need == c.need && !slices.Contains(p.allow, c.may) {
			return r, forbidden("this token does not allow to "+string(c.may), "make one with --allow "+string(c.may))
		}
	}
	return r, nil
}

func forbidden(msg, hint string) error {
	return &tenant.Error{Code: wire.CodeForbidden, Op: "admit", Msg: msg, Hint: hint}
}

// pathID gives the instance that the path names.
func pathID(r *http.Request) (tenant.ID, error) { return tenant.ParseID(r.PathValue("id")) }

// byID serves a route whose path names an instance.
func byID(serve func(w http.ResponseWriter, r *http.Request, id tenant.ID) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r)
		if err != nil {
			return err
		}
		return serve(w, r, id)
	}
}

// byService serves a route for the service in the path.
func byService(serve func(http.ResponseWriter, *http.Request, tenant.ID) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := tenant.ID{Service: r.PathValue("service")}
		if err := tenant.CheckLabel("service", id.Service); err != nil {
			return err
		}
		return serve(w, r, id)
	}
}

// owner is an instance's name, or a service's.
func owner(id tenant.ID) string {
	if id.Name == "" {
		return id.Service
	}
	return id.String()
}
