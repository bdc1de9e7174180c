package wire

import "time"

// SecretRequest is the body of PUT /api/v1/instances/{id}/secrets/{secret} and
// /api/v1/services/{service}/secrets/{secret}.
type SecretRequest struct {
	// Value is base64 in JSON.
	Value []byte `json:"value"`
	// Env: the app gets it as an environment variable too; nil is as before, and not at first.
	Env *bool `json:"env,omitempty"`
}

// Secret is what is told of a secret: never its value.
type Secret struct {
	Name string `json:"name"`
	Env  bool   `json:"env"`
	// Of is the instance, or the service, that it was set for.
	Of      string    `json:"of"`
	Changed time.Time `json:"changed"`
}

// Secrets answers GET /api/v1/instances/{id}/secrets and /api/v1/services/{service}/secrets.
type Secrets struct {
	Secrets []Secret `json:"secrets"`
}

// SecretChange answers PUT and DELETE of one.
type SecretChange struct {
	// Of is the instance, or the service.
	Of   string `json:"of"`
	Name string `json:"name"`
	// Was is false where there was none to be removed.
	Was bool `json:"was"`
	// Running is how many processes get to know of the change with their next start only.
	Running int `json:"running"`
}
