//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package redisledger

import (
	"io"
	"os"
)

// lockFile keeps no other process out: there is no flock here, and a file that only says that it is locked would
// outlive a process that was killed.
func lockFile(path string) (io.Closer, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }
