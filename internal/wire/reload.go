package wire

// Reload answers POST /api/v1/reload.
type Reload struct {
	// Config is the path of the file that was read.
	Config string `json:"config"`
}
