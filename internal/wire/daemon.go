package wire

// Version says which build a program is.
type Version struct {
	Version string `json:"version"`
	// Commit is the revision that it was built from, empty if that is not known.
	Commit string `json:"commit,omitempty"`
	Go     string `json:"go"`
}

// Check is one thing that the machine can or cannot do.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	// Hint says what to do where it is not OK.
	Hint string `json:"hint,omitempty"`
}

// Doctor answers GET /api/v1/doctor.
type Doctor struct {
	Checks []Check `json:"checks"`
}
