//go:build darwin || freebsd

package sqliteledger

import (
	"fmt"
	"syscall"
)

// mntLocal is MNT_LOCAL of mount(2): the file system is stored on this machine.
const mntLocal = 0x1000

// local reports that dir is on a network file system, whose locks and shared memory do not hold between machines.
func local(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if uint64(s.Flags)&mntLocal == 0 {
		return fmt.Errorf("%s is on a network file system, where two machines could each spend the whole limit; use a local disk, or a ledger that is shared over the network", dir)
	}
	return nil
}
