package api

// Route is a route as tests see it.
type Route struct{ Action, Method, Path string }

// Routes are all routes.
func Routes() []Route {
	var list []Route
	for _, rt := range new(API).routes() {
		list = append(list, Route{rt.action, rt.method, rt.path})
	}
	return list
}
