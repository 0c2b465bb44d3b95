//go:build unix

package credentials_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keybrake/keybrake-go/credentials"
)

// Opening a named pipe would wait for its writer for ever.
func TestFileIsNoPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if text, _ := refused(t, credentials.File{"a": path}, "a"); !strings.Contains(text, "is not a regular file") {
		t.Errorf("got %s", text)
	}
}
