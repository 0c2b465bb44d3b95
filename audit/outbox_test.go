package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

func newOutbox(t *testing.T, next audit.Sink, path string, o *audit.OutboxOptions) *audit.OutboxSink {
	s := audit.Outbox(next, path, o)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func outboxPath(t *testing.T) string { return filepath.Join(t.TempDir(), "outbox") }

func idsOf(records []audit.Record) (ids []string) {
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

// five is a context with the brake's own deadline for a record.
func five(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestOutboxIsASink(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		var r audittest.Recorder
		return newOutbox(t, &r, outboxPath(t), nil), r.Records
	})
}

// What passes through the file comes out as it went in.
func TestWhatWaitedIsWhole(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		var r audittest.Recorder
		r.Fail(errFull)
		s := newOutbox(t, &r, outboxPath(t), nil)
		return s, func() []audit.Record {
			r.Fail(nil)
			if s.Waiting() > 0 {
				if err := s.Write(t.Context(), of(audit.Intent, "drains")); err != nil {
					t.Error(err)
				}
			}
			return slices.DeleteFunc(r.Records(), func(r audit.Record) bool { return r.ID == "drains" })
		}
	})
}

// Fail closed: no intent waits in a file, and none passes what does.
func TestAnIntentFailsWithItsSink(t *testing.T) {
	var r audittest.Recorder
	path := outboxPath(t)
	s := newOutbox(t, &r, path, nil)
	r.Fail(errFull)
	for range 3 {
		if err := s.Write(five(t), of(audit.Intent, "i")); !errors.Is(err, errFull) || s.Waiting() != 0 {
			t.Fatalf("got %v, %d wait", err, s.Waiting())
		}
	}
	later := map[audit.Kind]string{audit.Outcome: "o", audit.Denied: "d", audit.Reconciled: "r", audit.Control: "c"}
	for _, kind := range []audit.Kind{audit.Outcome, audit.Denied, audit.Reconciled, audit.Control} {
		if err := s.Write(five(t), of(kind, later[kind])); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := s.Write(five(t), of(audit.Intent, "i")); !errors.Is(err, errFull) || s.Waiting() != 4 {
		t.Errorf("an intent while something waits: %v, %d wait", err, s.Waiting())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	r.Fail(nil)
	if err := s.Write(five(t), of(audit.Intent, "next")); err != nil {
		t.Fatal(err)
	}
	if got := idsOf(r.Records()); !slices.Equal(got, []string{"o", "d", "r", "c", "next"}) || s.Waiting() != 0 || size(t, path) != 0 {
		t.Errorf("got %q, %d wait in %d bytes", got, s.Waiting(), size(t, path))
	}
}

// What waits is delivered when the sink is back, with no new traffic, in order and once, and so it is after a restart.
func TestWhatWaitsIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r audittest.Recorder
		r.Fail(errFull)
		path := outboxPath(t)
		s := newOutbox(t, &r, path, nil)
		var want []string
		for i := range 600 {
			want = append(want, fmt.Sprint(i))
			if err := s.Write(five(t), of(audit.Outcome, want[i])); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if s.Waiting() != 600 {
			t.Errorf("%d wait", s.Waiting())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(five(t), of(audit.Outcome, "late")); err == nil {
			t.Error("a closed outbox takes a record")
		}
		s = newOutbox(t, &r, path, nil)
		if err := s.Check(t.Context()); err != nil || s.Waiting() != 600 {
			t.Fatalf("after a restart %d wait, %v", s.Waiting(), err)
		}
		time.Sleep(time.Minute)
		r.Fail(nil)
		time.Sleep(10 * time.Second)
		if got := idsOf(r.Records()); !slices.Equal(got, want) || s.Waiting() != 0 || size(t, path) != 0 {
			t.Errorf("%d records, %d wait in %d bytes", len(got), s.Waiting(), size(t, path))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A sink that hangs leaves time for the file, and is told of the record again: what it took late it has twice, under one id.
func TestASinkThatHangsDoesNotKeepARecordFromTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r audittest.Recorder
		release := make(chan struct{})
		next := sinkFunc(func(ctx context.Context, rec audit.Record) error {
			<-release
			return r.Write(ctx, rec)
		})
		s := newOutbox(t, next, outboxPath(t), nil)
		start := time.Now()
		for i, took := range []time.Duration{2500 * time.Millisecond, 2500 * time.Millisecond} { // the second waits behind the first
			if err := audit.Write(five(t), s, of(audit.Outcome, fmt.Sprint(i))); err != nil || time.Since(start) != took {
				t.Errorf("record %d: %v after %v", i, err, time.Since(start))
			}
		}
		begun := time.Now()
		if err := audit.Write(five(t), s, of(audit.Intent, "i")); err == nil || time.Since(begun) > 2500*time.Millisecond {
			t.Errorf("an intent: %v after %v", err, time.Since(begun))
		}
		close(release)
		time.Sleep(time.Minute)
		got := idsOf(r.Records())
		if !slices.Equal(slices.Compact(slices.Sorted(slices.Values(got))), []string{"0", "1"}) || s.Waiting() != 0 {
			t.Errorf("got %q, %d wait", got, s.Waiting())
		}
		_ = s.Close()
	})
}

// Who has given up on a record goes on to the next, which may pass by the file: the first must not come up behind it.
func TestARecordThatWasGivenUpIsNotKept(t *testing.T) {
	for range 30 { // what is ready and what has ended are taken at random
		var r audittest.Recorder
		ctx, cancel := context.WithCancel(t.Context())
		first := true
		next := sinkFunc(func(c context.Context, rec audit.Record) error {
			if first {
				first = false
				cancel()
				return errFull
			}
			return r.Write(c, rec)
		})
		s := newOutbox(t, next, outboxPath(t), nil)
		if err := s.Write(ctx, of(audit.Outcome, "given up")); err == nil || s.Waiting() != 0 {
			t.Fatalf("it is kept: %v", err)
		}
		if err := s.Write(t.Context(), of(audit.Outcome, "next")); err != nil {
			t.Error(err)
		}
		if got := idsOf(r.Records()); !slices.Equal(got, []string{"next"}) {
			t.Errorf("got %q", got)
		}
	}
}

func TestAFullOutboxTakesNoMore(t *testing.T) {
	var r audittest.Recorder
	r.Fail(errFull)
	s := newOutbox(t, &r, outboxPath(t), &audit.OutboxOptions{Records: 3})
	batch := []audit.Record{of(audit.Outcome, "a"), of(audit.Outcome, "b")}
	if err := audit.WriteBatch(t.Context(), s, batch); err != nil {
		t.Fatal(err)
	}
	if err := audit.WriteBatch(t.Context(), s, batch); err == nil || s.Waiting() != 2 {
		t.Errorf("four of three: %v, %d wait", err, s.Waiting())
	}
	if err := s.Write(t.Context(), of(audit.Outcome, "c")); err != nil {
		t.Error(err)
	}
	if err := s.Write(t.Context(), of(audit.Outcome, "d")); err == nil {
		t.Error("a full outbox takes a record")
	}
}

// lossy fails at random, before or after it has written, and now and then for longer.
type lossy struct {
	to audit.Sink

	mu   sync.Mutex
	rnd  *rand.Rand
	down int // so many writes fail
}

func (l *lossy) Write(ctx context.Context, r audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down == 0 && l.rnd.IntN(8) == 0 {
		l.down = l.rnd.IntN(12)
	}
	if l.down > 0 {
		if l.down--; l.rnd.IntN(4) > 0 {
			return errFull
		}
		return errors.Join(l.to.Write(ctx, r), errFull)
	}
	return l.to.Write(ctx, r)
}

// lossyBatches is lossy for sinks that take batches: of one that fails, the first records may be there.
type lossyBatches struct{ lossy }

func (l *lossyBatches) WriteBatch(ctx context.Context, rs []audit.Record) error {
	for _, r := range rs {
		if err := l.Write(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// The links of a chain reach lines in their order, whatever fails: nothing that was taken is missing, and nothing looks
// tampered with.
func TestAChainBeforeAnOutboxIsWhole(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) { chainBeforeOutbox(t, seed) })
	}
}

func chainBeforeOutbox(t *testing.T, seed uint64) {
	var text bytes.Buffer
	next := &lossyBatches{lossy{to: audit.JSON(&text), rnd: rand.New(rand.NewPCG(seed, 7))}}
	box := newOutbox(t, map[bool]audit.Sink{true: next, false: &next.lossy}[seed%2 == 0], outboxPath(t), nil)
	s := audit.Chain(box, writer(1))
	var mu sync.Mutex
	taken := map[string]bool{}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 30 {
				kind := map[bool]audit.Kind{true: audit.Intent, false: audit.Outcome}[i%2 == 0]
				r := of(kind, fmt.Sprint(w, "-", i))
				err := audit.Write(context.Background(), s, r)
				if err != nil && kind != audit.Intent {
					t.Errorf("seed %d: %s is refused: %v", seed, kind, err)
				}
				mu.Lock()
				taken[r.ID] = err == nil
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	time.Sleep(10 * time.Minute) // the sink stays as it is
	if box.Waiting() > 0 {
		t.Errorf("seed %d: %d wait", seed, box.Waiting())
	}
	if err := box.Close(); err != nil {
		t.Error(err)
	}
	v, err := audit.Verify(audit.Read(bytes.NewReader(text.Bytes())), &audit.VerifyOptions{Keys: []ed25519.PublicKey{public(writer(1))}})
	if err != nil {
		t.Errorf("seed %d: %+v, %v", seed, v, err)
	}
	there := map[string]bool{}
	for _, r := range readAll(t, &text) {
		there[r.ID] = true
	}
	for id, ok := range taken {
		if ok && !there[id] {
			t.Errorf("seed %d: %s was taken and is lost", seed, id)
		}
	}
}

func TestAnOutboxFileIsOneProcesss(t *testing.T) {
	path := outboxPath(t)
	first := newOutbox(t, audit.InsecureDiscard(), path, nil)
	if err := first.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := newOutbox(t, audit.InsecureDiscard(), path, nil)
	for _, kind := range []audit.Kind{audit.Intent, audit.Outcome} {
		if err := second.Write(t.Context(), of(kind, "x")); err == nil {
			t.Errorf("a second outbox takes an %s", kind)
		}
	}
	if second.Check(t.Context()) == nil {
		t.Error("a second outbox passes")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.Check(t.Context()); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
	for name, s := range map[string]*audit.OutboxSink{
		"no path":           newOutbox(t, audit.InsecureDiscard(), "", nil),
		"less than none":    newOutbox(t, audit.InsecureDiscard(), outboxPath(t), &audit.OutboxOptions{Records: -1}),
		"no sink":           newOutbox(t, nil, outboxPath(t), nil),
		"a sink of nothing": newOutbox(t, audit.JSON(nil), outboxPath(t), nil),
		"no folder":         newOutbox(t, audit.InsecureDiscard(), filepath.Join(t.TempDir(), "none", "outbox"), nil),
	} {
		if audit.Check(t.Context(), s) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// waiting returns the lines of an outbox in which these records wait.
func waiting(t *testing.T, path string, ids ...string) []string {
	t.Helper()
	s := newOutbox(t, broken, path, nil)
	for _, id := range ids {
		if err := s.Write(t.Context(), of(audit.Outcome, id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
}

// summed is a line of an outbox.
func summed(text string) string {
	return fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)), text)
}

// A line that was cut when the machine failed was not acknowledged. Any other damage stops the calls until somebody has looked.
func TestADamagedOutbox(t *testing.T) {
	path := outboxPath(t)
	lines := waiting(t, path, "a", "b", "c")
	lines[2] += "\n"
	for name, tt := range map[string]struct {
		text string
		want []string // the records that are delivered; none: it is refused
	}{
		"whole":                       {lines[0] + lines[1] + lines[2], []string{"a", "b", "c"}},
		"the last is cut":             {lines[0] + lines[1] + lines[2][:20], []string{"a", "b"}},
		"the last has no end":         {lines[0] + lines[1] + strings.TrimSuffix(lines[2], "\n"), []string{"a", "b"}},
		"the last is zeros":           {lines[0] + lines[1] + strings.Repeat("\x00", 50), []string{"a", "b"}},
		"the one in the middle is":    {lines[0] + lines[1][:20] + "\n" + lines[2], nil},
		"an amount in the middle is":  {lines[0] + strings.Replace(lines[1], `"b"`, `"x"`, 1) + lines[2], nil},
		"it is something else":        {"{}\n{}\n" + lines[2], nil},
		"it is of another version":    {lines[0] + summed(`{"record":{"v":2,"later":1}}`), nil},
		"more was taken than waited":  {lines[0] + summed(`{"taken":2}`), nil},
		"it says nothing":             {lines[0] + summed(`{}`), nil},
		"the first was taken":         {lines[0] + lines[1] + summed(`{"taken":1}`) + lines[2], []string{"b", "c"}},
		"all were taken":              {lines[0] + lines[1] + summed(`{"taken":1}`) + summed(`{"taken":1}`), []string{}},
		"there is nothing in it":      {"", []string{}},
		"there is one line, half":     {lines[0][:9], []string{}},
		"there is one line, an empty": {"\n", []string{}},
	} {
		path := outboxPath(t)
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var r audittest.Recorder
		s := newOutbox(t, &r, path, nil)
		err := s.Write(t.Context(), of(audit.Intent, "i"))
		if tt.want == nil {
			if err == nil || len(r.Records()) != 0 || s.Write(t.Context(), of(audit.Outcome, "o")) == nil {
				t.Errorf("%s: %v, %q", name, err, idsOf(r.Records()))
			}
			if now, _ := os.ReadFile(path); string(now) != tt.text {
				t.Errorf("%s: the file was changed", name)
			}
			continue
		}
		if got := idsOf(r.Records()); err != nil || !slices.Equal(got, append(tt.want, "i")) {
			t.Errorf("%s: %v, %q", name, err, got)
		}
		_ = s.Close()
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if newOutbox(t, audit.InsecureDiscard(), path, nil).Check(t.Context()) == nil {
		t.Error("a file that others may read passes")
	}
}

const outboxChild = "KEYBRAKE_TEST_OUTBOX"

// TestOutboxProcess is the process that the next test kills: it writes records to a sink that fails two times in three, and
// says the number of each that was taken.
func TestOutboxProcess(t *testing.T) {
	dir, from, _ := strings.Cut(os.Getenv(outboxChild), "|")
	if dir == "" {
		return
	}
	file := audit.File(filepath.Join(dir, "audit.jsonl"), nil)
	tries := 0
	next := sinkFunc(func(ctx context.Context, r audit.Record) error {
		if tries++; tries%3 != 0 {
			return errFull
		}
		return file.Write(ctx, r)
	})
	s := audit.Outbox(next, filepath.Join(dir, "outbox"), nil)
	begin, err := strconv.Atoi(from)
	if err != nil {
		t.Fatal(err)
	}
	for n := begin; ; n++ {
		if err := s.Write(t.Context(), of(audit.Outcome, fmt.Sprintf("%06d", n))); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("taken %d\n", n)
	}
}

// A process that is killed at any point loses nothing that was taken, keeps the order, and has little twice.
func TestAnOutboxSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	const kills = 12
	taken := -1
	rnd := rand.New(rand.NewPCG(1, 2))
	for range kills {
		child := exec.Command(os.Args[0], "-test.run=^TestOutboxProcess$")
		child.Env = append(os.Environ(), outboxChild+"="+dir+"|"+strconv.Itoa(taken+1))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		for left := 1 + rnd.IntN(60); left > 0 && in.Scan(); {
			if n, ok := strings.CutPrefix(in.Text(), "taken "); ok {
				if taken, err = strconv.Atoi(n); err != nil {
					t.Fatal(err)
				}
				left--
			} else {
				t.Fatalf("the process says %q", in.Text())
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for in.Scan() { // what it had said by then
			if n, ok := strings.CutPrefix(in.Text(), "taken "); ok {
				if m, err := strconv.Atoi(n); err == nil {
					taken = m
				}
			}
		}
		_ = child.Wait()
	}
	path := filepath.Join(dir, "audit.jsonl")
	file := newFile(t, path, nil)
	s := newOutbox(t, file, filepath.Join(dir, "outbox"), nil)
	if err := s.Write(t.Context(), of(audit.Intent, "end")); err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	var order []string
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range audit.Read(bytes.NewReader(text)) {
		if err != nil {
			continue // a line that was cut by a kill, and delivered again
		}
		if there[r.ID]++; there[r.ID] == 1 {
			order = append(order, r.ID)
		}
	}
	twice := 0
	for n := range taken + 1 {
		id := fmt.Sprintf("%06d", n)
		if there[id] == 0 {
			t.Errorf("record %s of %d was taken and is lost", id, taken)
		}
		if there[id] > 1 {
			twice++
		}
	}
	if taken < kills || !slices.IsSorted(order) || order[len(order)-1] != "end" || twice > 3*kills {
		t.Errorf("%d records, in order: %v, twice: %d", taken+1, slices.IsSorted(order), twice)
	}
}

func ExampleOutbox() {
	dir, err := os.MkdirTemp("", "keybrake")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var store audittest.Recorder
	sink := audit.Outbox(&store, filepath.Join(dir, "outbox"), nil) // Config.Audit
	defer sink.Close()

	store.Fail(io.ErrClosedPipe)
	fmt.Println("an outcome:", sink.Write(context.Background(), audit.Record{Version: 1, ID: "e1", Kind: audit.Outcome}))
	err = sink.Write(context.Background(), audit.Record{Version: 1, ID: "e2", Kind: audit.Intent})
	fmt.Println("an intent is refused:", err != nil, "and waiting:", sink.Waiting())
	// Output:
	// an outcome: <nil>
	// an intent is refused: true and waiting: 1
}
