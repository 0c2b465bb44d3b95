//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package filelock

import (
	"io"
	"os"
)

// Take keeps nobody else out: there is no flock here, and a file that only says that it is locked would outlive a process
// that was killed.
func Take(path string) (io.Closer, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }
