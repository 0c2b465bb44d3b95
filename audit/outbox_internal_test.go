package audit

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func openNew(t *testing.T) *outboxFile {
	t.Helper()
	f, err := openOutbox(filepath.Join(t.TempDir(), "outbox"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *outboxFile) put(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := f.add([]Record{{Version: 1, ID: id}}); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *outboxFile) ids(t *testing.T) (ids []string) {
	t.Helper()
	rs, err := f.oldest(1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	return ids
}

// reopened is the file as the next process finds it.
func (f *outboxFile) reopened(t *testing.T) *outboxFile {
	t.Helper()
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f, err := openOutbox(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A record that cannot be brought to the disk is not kept, and neither is what was written of it.
func TestAnOutboxRecordThatIsNotOnTheDiskIsNotKept(t *testing.T) {
	f := openNew(t)
	f.put(t, "a")
	file := f.file
	from, to, err := os.Pipe() // takes what is written, and cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, from) }()
	f.file = to
	if err := f.add([]Record{{Version: 1, ID: "b"}}); err == nil {
		t.Error("a record is kept that is not synced")
	}
	if err := f.add([]Record{{Version: 1, ID: "c"}}); err == nil {
		t.Error("a record is kept behind what cannot be cut off")
	}
	_ = to.Close()
	f.file = file
	if _, err := file.WriteString("half a li"); err != nil {
		t.Fatal(err)
	}
	f.put(t, "d")
	if got := f.ids(t); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("got %q", got)
	}
	f = f.reopened(t)
	if got := f.ids(t); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("after a restart: %q", got)
	}
	if _, err := f.file.WriteString("half a li"); err != nil { // the machine failed here
		t.Fatal(err)
	}
	f = f.reopened(t)
	f.put(t, "e")
	if got := f.reopened(t).ids(t); !slices.Equal(got, []string{"a", "d", "e"}) {
		t.Errorf("behind a line that was cut: %q", got)
	}
	f = openNew(t)
	if err := f.add([]Record{{Version: 1, ID: "f", Detail: strings.Repeat("x", longestLine)}}); err == nil {
		t.Error("a record that no reader takes is kept")
	}
	_ = f.close()
}

// What was taken is not delivered again after a restart, and what is left stays in order while the file is made smaller.
func TestAnOutboxFileForgetsWhatWasTaken(t *testing.T) {
	f := openNew(t)
	var left []string
	longest := int64(0)
	for n := range 300 {
		id := fmt.Sprint(n)
		if err := f.add([]Record{{Version: 1, ID: id, Detail: strings.Repeat("x", 20<<10)}}); err != nil {
			t.Fatal(err)
		}
		if left = append(left, id); n%10 == 9 {
			f.taken(9)
			left = left[9:]
		}
		longest = max(longest, f.size)
		if n%100 == 95 {
			f = f.reopened(t)
			if got := f.ids(t); !slices.Equal(got, left) {
				t.Fatalf("after a restart %q are left, not %q", got, left)
			}
		}
	}
	if got := f.ids(t); !slices.Equal(got, left) || f.waits() != 30 {
		t.Errorf("%q are left, not %q", got, left)
	}
	if longest > 4<<20 {
		t.Errorf("the file got %d bytes long", longest)
	}
	f.taken(30)
	if info, err := f.file.Stat(); err != nil || info.Size() != 0 || f.size != 0 {
		t.Errorf("with nothing in it, it has %d bytes, %v", info.Size(), err)
	}
	f.put(t, "new")
	if got := f.reopened(t).ids(t); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %q", got)
	}
}

// Whatever stands in the file, it is refused as it is, or what it holds is kept, with what comes behind it.
func FuzzOutboxFile(f *testing.F) {
	line := func(l outboxLine) string {
		text, err := l.pack()
		if err != nil {
			f.Fatal(err)
		}
		return string(text)
	}
	a, b, taken := line(outboxLine{Record: &Record{Version: 1, ID: "a"}}), line(outboxLine{Record: &Record{Version: 1, ID: "b"}}), line(outboxLine{Taken: 1})
	for _, text := range []string{"", a + b, a + b + taken, a + taken + b, taken, a + b[:9], a[:20] + "\n" + b, "\n\n" + a, "00000000 \n", a + strings.TrimSuffix(b, "\n")} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "outbox")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := openOutbox(path)
		if err != nil {
			if now, _ := os.ReadFile(path); string(now) != text {
				t.Errorf("it is refused, and changed to %q", now)
			}
			return
		}
		held := o.waits()
		before, err := o.oldest(held + 1)
		if err != nil || len(before) != held {
			t.Fatalf("%d of %d records, %v", len(before), held, err)
		}
		o.put(t, "new")
		o = o.reopened(t)
		if o.waits() != held+1 {
			t.Fatalf("%d wait after one more than %d", o.waits(), held)
		}
		if held > 0 {
			o.taken(held)
		}
		if got := o.reopened(t).ids(t); !slices.Equal(got, []string{"new"}) {
			t.Errorf("%q are left", got)
		}
	})
}
