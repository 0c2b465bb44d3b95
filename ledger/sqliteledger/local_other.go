//go:build !linux && !darwin && !freebsd

package sqliteledger

import (
	"fmt"
	"path/filepath"
	"strings"
)

// local reports that dir is on another machine, as far as its name says so: \\server\share. A network drive that
// has a letter is not seen.
func local(dir string) error {
	if strings.HasPrefix(filepath.VolumeName(dir), `\\`) {
		return fmt.Errorf("%s is on a network file system, where two machines could each spend the whole limit; use a local disk, or a ledger that is shared over the network", dir)
	}
	return nil
}
