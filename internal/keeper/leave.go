package keeper

import (
	"errors"
	"os"
	"path/filepath"
)

// Leave takes away what a daemon and its instances have left in the kernel and below /run:
// the fence and the instances' user records. It is for a machine that loses Tenement, when
// none of them runs any more. Who has which uid stays in stateDir, with the data.
func Leave(runtimeDir, stateDir string) error {
	var errs []error
	fence := filepath.Join(runtimeDir, "fence")
	if _, err := os.Stat(fence); err == nil {
		errs = append(errs, dropFence("tenement", fence))
	}
	a, err := openAccounts(filepath.Join(stateDir, "uids.json"), userdbDir)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, uid := range a.uids {
		errs = append(errs, a.withdraw(uid))
	}
	return errors.Join(errs...)
}
