package filelock_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/keybrake/keybrake-go/internal/filelock"
)

func TestAFileIsTakenOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock")
	}
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := filelock.Take(path); err == nil {
		_ = second.Close()
		t.Error("it is taken twice")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := filelock.Take(path)
	if err != nil {
		t.Fatalf("after the first has left: %v", err)
	}
	_ = again.Close()
}
