package machine

// ID is the machine's id, for tests that look for what a machine leaves.
func (m *Machine) ID() string { return m.id }
