package audit

import (
	"os"
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
	n := waits(s)
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

// waits is the number of a write that waits for its sync.
func waits(s *FileSink) int64 {
	n := s.begun.Add(1)
	s.done.Store(n)
	return n
}

// Of two that wait for a sync, the first is told that it failed. Where the second asked again, the system would say that all
// is well: it has forgotten what it could not write. So is what was written while the sync was under way.
func TestARecordWhoseSyncFailedForAnotherIsNotKept(t *testing.T) {
	s := File(filepath.Join(t.TempDir(), "audit.jsonl"), nil)
	put := func() error { return s.Write(t.Context(), Record{Version: 1, ID: "r"}) }
	if err := put(); err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(s.path)
	if err != nil || closed.Close() != nil {
		t.Fatal(err)
	}
	for range 2 {
		first, second, underWay := waits(s), waits(s), s.begun.Add(1)
		if err := s.sync(closed, first); err == nil {
			t.Fatal("a file that is closed is synced")
		}
		s.done.Store(underWay)
		for name, n := range map[string]int64{"that waited": second, "that was under way": underWay, "that was told": first} {
			if err := s.sync(s.file, n); err == nil {
				t.Errorf("the write %s is said to be on the disk", name)
			}
		}
		if err := put(); err != nil {
			t.Errorf("the write after it: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
