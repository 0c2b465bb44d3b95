package audit

import (
	"path/filepath"
	"testing"
)

// The sync of the file that comes next says nothing of a record in the one before.
func TestARecordOfAFileThatCouldNotBeSyncedIsNotKept(t *testing.T) {
	s := File(filepath.Join(t.TempDir(), "audit.jsonl"), nil)
	put := func() error { return s.Write(t.Context(), Record{Version: 1, ID: "r"}) }
	if err := put(); err != nil {
		t.Fatal(err)
	}
	file := s.file
	n := s.writes.Add(1) // a write that waits for its sync
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.leave(); err == nil {
		t.Fatal("a file that is closed is synced")
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := s.sync(s.file, n); err == nil {
		t.Error("the write is said to be on the disk")
	}
	if err := s.sync(s.file, n+1); err != nil {
		t.Errorf("the write after it: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
