package keeper

// OpenFence is openFence.
func OpenFence(table, dir string) (*fence, error) { return openFence(table, dir) }

// Allow is allow.
func (f *fence) Allow(uid, port int) error { return f.allow(uid, port) }
