package wire

// WeightRequest is the body of POST /api/v1/instances/{id}/weight.
type WeightRequest struct {
	// Weight is 0 to 10000; null takes the instance's own weight away.
	Weight *int `json:"weight"`
}

// DeployRequest is the body of POST /api/v1/instances/{id}/deploy.
type DeployRequest struct {
	// Weight is what the instance gets when it is ready, 0 to 10000; null is 100, or none where
	// the service has no host name of its own.
	Weight *int `json:"weight"`
	// TimeoutMS bounds the wait for it; 0 leaves that to the service.
	TimeoutMS float64 `json:"timeout_ms"`
}

// RouteRequest is the body of POST /api/v1/services/{service}/route.
type RouteRequest struct {
	// From and To are names of instances of the service.
	From string `json:"from"`
	To   string `json:"to"`
}
