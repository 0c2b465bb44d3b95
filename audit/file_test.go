package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

// idsIn are the ids of the records in these files, in order.
func idsIn(t *testing.T, paths ...string) (ids []string) {
	t.Helper()
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range audit.Read(bytes.NewReader(text)) {
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func record(id string) audit.Record { return audit.Record{Version: 1, ID: id, Kind: audit.Denied} }

func put(t *testing.T, s *audit.FileSink, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := s.Write(t.Context(), record(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func newFile(t *testing.T, path string, o *audit.FileOptions) *audit.FileSink {
	s := audit.File(path, o)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestFileSink(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		s := newFile(t, path, nil)
		return s, func() (records []audit.Record) {
			text, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			for r, err := range audit.Read(bytes.NewReader(text)) {
				if err != nil {
					t.Error(err)
				}
				records = append(records, r)
			}
			return records
		}
	})
	audittest.RunBroken(t, func() audit.Sink { return newFile(t, t.TempDir(), nil) })
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	put(t, newFile(t, path, nil), "one")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	open := filepath.Join(dir, "open.jsonl")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"open to others": open, "a folder": dir, "of no folder": filepath.Join(dir, "none", "audit.jsonl"), "of no name": ""} {
		s := newFile(t, path, nil)
		if err := s.Check(t.Context()); err == nil {
			t.Errorf("a file that is %s passes", name)
		}
		if err := s.Write(t.Context(), record("x")); err == nil {
			t.Errorf("a file that is %s takes a record", name)
		}
	}
}

func TestFileGoesOnWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	first := newFile(t, path, nil)
	put(t, first, "one")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Write(t.Context(), record("late")); err == nil {
		t.Error("a closed file takes a record")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"v":1,"id":"tor`...), 0o600); err != nil { // the machine failed here
		t.Fatal(err)
	}
	put(t, newFile(t, path, nil), "two")
	var ids []string
	damaged := 0
	text, _ = os.ReadFile(path)
	for r, err := range audit.Read(bytes.NewReader(text)) {
		if err != nil {
			damaged++
			continue
		}
		ids = append(ids, r.ID)
	}
	if damaged != 1 || !slices.Equal(ids, []string{"one", "two"}) {
		t.Errorf("%d damaged lines, records %q", damaged, ids)
	}
}

func TestFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	line, err := os.ReadFile(func() string {
		sample := filepath.Join(t.TempDir(), "sample")
		put(t, newFile(t, sample, nil), "00")
		return sample
	}())
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []int{0, 2} {
		s := newFile(t, fmt.Sprint(path, keep), &audit.FileOptions{MaxBytes: int64(3 * len(line)), Keep: keep})
		var want []string
		for n := range 20 {
			want = append(want, fmt.Sprintf("%02d", n))
		}
		put(t, s, want...)
		old, err := s.Rotated()
		if err != nil {
			t.Fatal(err)
		}
		if keep == 0 && len(old) != 6 || keep == 2 && len(old) != 2 {
			t.Errorf("of %d kept, there are %d", keep, len(old))
		}
		got := idsIn(t, append(old, fmt.Sprint(path, keep))...)
		if !slices.Equal(got, want[len(want)-len(got):]) || keep == 0 && len(got) != 20 || keep == 2 && len(got) != 8 {
			t.Errorf("of %d kept, the records are %q", keep, got)
		}
		for _, p := range old {
			if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 || info.Size() > int64(3*len(line)) {
				t.Errorf("%s: %v, %v", p, info, err)
			}
		}
	}
	alone := newFile(t, path, &audit.FileOptions{MaxBytes: 1})
	put(t, alone, "a", "b")
	if old, err := alone.Rotated(); err != nil || !slices.Equal(idsIn(t, append(old, path)...), []string{"a", "b"}) {
		t.Errorf("records that are longer than a file may be: %q, %v", old, err)
	}
}

// A file that was moved away, as logrotate does, or removed, is left: records go to what has its name.
func TestFileThatWasMovedIsBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	s := newFile(t, path, nil)
	put(t, s, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "two")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, s, "three")
	if got := idsIn(t, path+".1", path); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("the records are %q", got)
	}
}

func TestFileTakesManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	s := newFile(t, path, &audit.FileOptions{MaxBytes: 2000})
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			if err := s.Write(context.Background(), record(fmt.Sprint(n))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	old, err := s.Rotated()
	if err != nil {
		t.Fatal(err)
	}
	ids := idsIn(t, append(old, path)...)
	slices.Sort(ids)
	if got := len(slices.Compact(ids)); got != 200 || len(ids) != 200 {
		t.Errorf("%d records of 200 different ones", got)
	}
}

func TestFileThatCannotBeWrittenSaysSo(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	s := newFile(t, "/dev/full", nil)
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a device passes: %v", err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
