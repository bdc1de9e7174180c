package wire

// Reload answers POST /api/v1/reload.
type Reload struct {
	// Config is the path of the file that was read.
	Config string `json:"config"`
	// Unserved are the instances whose service the file does not have: their hosts are a 404.
	Unserved []string `json:"unserved,omitempty"`
}
