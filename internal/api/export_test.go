package api

// Route is a route as tests see it; Access is as the document has it.
type Route struct {
	Action, Method, Path, Access string
	Query                        []string
	// Audited is what audit events call it.
	Audited string
}

// Routes are all routes.
func Routes() []Route {
	names := map[access]string{
		accessAnyone: "anyone", accessKnown: "known", accessOwner: "owner",
		accessWake: "wake", accessRestart: "restart", accessAdmin: "admin",
	}
	var list []Route
	for _, rt := range new(API).routes() {
		list = append(list, Route{rt.action, rt.method, rt.path, names[rt.access], rt.query, audited(rt)})
	}
	return list
}
