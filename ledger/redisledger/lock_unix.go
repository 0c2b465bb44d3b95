//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package redisledger

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// lockFile takes a file for this process alone, until it is closed or the process ends.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another process has it; give each its own path")
		}
		return nil, err
	}
	return f, nil
}
