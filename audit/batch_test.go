package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

// A batcher is a sink that takes batches, in do, and single records as batches of one.
type batcher struct {
	audittest.Recorder
	mu      sync.Mutex
	batches [][]string // the ids of each
	do      func(ctx context.Context, batch int, rs []audit.Record) (kept int, err error)
}

func (b *batcher) Write(ctx context.Context, r audit.Record) error {
	return b.WriteBatch(ctx, []audit.Record{r})
}

func (b *batcher) WriteBatch(ctx context.Context, rs []audit.Record) (err error) {
	b.mu.Lock()
	n, kept := len(b.batches), len(rs)
	var ids []string
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	b.batches = append(b.batches, ids)
	b.mu.Unlock()
	if b.do != nil {
		kept, err = b.do(ctx, n, rs)
	}
	for _, r := range rs[:kept] {
		err = errors.Join(err, b.Recorder.Write(ctx, r))
	}
	return err
}

// ids are those of the records of each batch that the sink was given.
func (b *batcher) given() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.batches)
}

func of(kind audit.Kind, id string) audit.Record {
	return audit.Record{Version: 1, ID: id, Kind: kind, Labels: []string{id}}
}

// Records that come while a sink is busy are linked in one order and handed on together: intents, then others, in turn.
func TestChainHandsOnTogetherWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		to := &batcher{do: func(_ context.Context, batch int, rs []audit.Record) (int, error) {
			if batch == 0 {
				<-release
			}
			return len(rs), nil
		}}
		s := audit.Chain(to, writer(1))
		var wg sync.WaitGroup
		write := func(r audit.Record) {
			wg.Go(func() {
				if err := s.Write(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		write(of(audit.Outcome, "first"))
		for i := range 8 {
			write(of(audit.Outcome, fmt.Sprint("o", i)))
			write(of(audit.Intent, fmt.Sprint("i", i)))
		}
		close(release)
		wg.Wait()
		want := [][]string{{"first"}, {"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7"}, {"o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7"}}
		if got := to.given(); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("the batches are %q", got)
		}
		v, err := audit.Verify(inOrder(to.Records()), &audit.VerifyOptions{Keys: []ed25519.PublicKey{public(writer(1))}})
		if err != nil || v.Records != 17 || len(v.Heads) != 1 {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// A batch that fails uses up its numbers, and its first records may be there all the same. What is removed beside them shows.
func TestABatchThatASinkDidNotTakeIsNoTampering(t *testing.T) {
	keeps := map[int]int{1: 0, 2: 2, 4: 3, 5: 0} // of three records
	to := &batcher{do: func(_ context.Context, batch int, rs []audit.Record) (int, error) {
		if kept, fails := keeps[batch]; fails {
			return kept, io.ErrClosedPipe
		}
		return len(rs), nil
	}}
	s := audit.Chain(to, writer(1))
	for batch := range 8 {
		var rs []audit.Record
		for i := range 3 {
			rs = append(rs, of(audit.Outcome, fmt.Sprintf("%d%d", batch, i)))
		}
		_, fails := keeps[batch]
		if err := audit.WriteBatch(t.Context(), s, rs); (err != nil) != fails {
			t.Fatalf("batch %d: %v", batch, err)
		}
		if rs[0].Chain != nil {
			t.Error("the caller's records have links")
		}
	}
	records := to.Records()
	o := &audit.VerifyOptions{Keys: []ed25519.PublicKey{public(writer(1))}}
	if v, err := audit.Verify(inOrder(records), o); err != nil || v.Records != 4*3+2+3 {
		t.Fatalf("%+v, %v", v, err)
	}
	for i, r := range records {
		_, err := audit.Verify(inOrder(slices.Delete(slices.Clone(records), i, i+1)), o)
		mayLack := slices.Contains([]string{"21", "42", "72"}, r.ID) // the last of a batch that failed, and the last of all
		if (err == nil) != mayLack {
			t.Errorf("without record %s: %v", r.ID, err)
		}
	}
}

// A record that cannot be hashed fails alone, and takes no number.
func TestARecordThatCannotBeLinkedFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		to := &batcher{do: func(_ context.Context, _ int, rs []audit.Record) (int, error) { <-release; return len(rs), nil }}
		s := audit.Chain(to, nil)
		var wg sync.WaitGroup
		for i := range 4 {
			r := of(audit.Outcome, fmt.Sprint(i))
			if i == 2 {
				r.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			wg.Go(func() {
				if err := s.Write(t.Context(), r); (err != nil) != (i == 2) {
					t.Errorf("record %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		close(release)
		wg.Wait()
		got := to.Records()
		if v, err := audit.Verify(inOrder(got), nil); err != nil || v.Records != 3 || got[2].Chain.N != 3 {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// Who gives up fails nobody else's record, and one that was not handed on by then is never.
func TestWhoGivesUpOnABatchFailsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var until []time.Duration
		to := &batcher{do: func(ctx context.Context, batch int, rs []audit.Record) (int, error) {
			at, _ := ctx.Deadline()
			until = append(until, at.Sub(start))
			if batch == 0 {
				time.Sleep(2 * time.Second)
				return len(rs), nil
			}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}}
		s := audit.Chain(to, nil)
		var wg sync.WaitGroup
		write := func(id string, patience, returns time.Duration, works bool) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			wg.Go(func() {
				defer cancel()
				err := s.Write(ctx, of(audit.Outcome, id))
				if took := time.Since(start); (err == nil) != works || took != returns || !works && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v after %v", id, err, took)
				}
			})
			synctest.Wait()
		}
		write("first", time.Minute, 2*time.Second, true)
		write("gone", time.Second, time.Second, false)
		write("short", 3*time.Second, 3*time.Second, false)
		write("long", 5*time.Second, 5*time.Second, false)
		wg.Wait()
		synctest.Wait()
		if got := to.given(); !slices.EqualFunc(got, [][]string{{"first"}, {"short", "long"}}, slices.Equal) {
			t.Errorf("the batches are %q", got)
		}
		if !slices.Equal(until, []time.Duration{time.Minute, 5 * time.Second}) {
			t.Errorf("their deadlines are %v", until)
		}
	})
}

// All who wait for a batch without a deadline have gone: so does the batch.
func TestABatchEndsWithTheLastWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ended := make(chan struct{})
		to := &batcher{do: func(ctx context.Context, batch int, rs []audit.Record) (int, error) {
			if batch == 0 {
				<-release
				return len(rs), nil
			}
			<-ctx.Done()
			close(ended)
			return 0, context.Cause(ctx)
		}}
		s := audit.Chain(to, nil)
		go func() { _ = s.Write(t.Context(), of(audit.Outcome, "first")) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 2 {
			go func() { _ = s.Write(ctx, of(audit.Outcome, fmt.Sprint(i))) }()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		select {
		case <-ended:
			t.Error("it ended before")
		default:
		}
		cancel()
		<-ended
	})
}

// Text that is no text is hashed as it is read.
func TestAChainOfTextThatIsNotUTF8IsWhole(t *testing.T) {
	var text bytes.Buffer
	s := audit.Chain(audit.JSON(&text), nil)
	for _, detail := range []string{"a\xffb", "a\ufffdb", "a\xe2\x80"} {
		r := of(audit.Denied, "r")
		r.Detail = detail
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := audit.Verify(audit.Read(&text), nil); err != nil || v.Records != 3 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A batch goes through all that stands before a sink as one.
func TestBatchesStayWhole(t *testing.T) {
	batch := []audit.Record{of(audit.Outcome, "a"), of(audit.Outcome, "b"), of(audit.Outcome, "c")}
	for name, wrap := range map[string]func(audit.Sink) audit.Sink{
		"Guard":              audit.Guard,
		"Tee":                func(s audit.Sink) audit.Sink { return audit.Tee(audit.InsecureDiscard(), s) },
		"InsecureBestEffort": audit.InsecureBestEffort,
		"Chain":              func(s audit.Sink) audit.Sink { return audit.Chain(s, nil) },
		"Chain(Tee)": func(s audit.Sink) audit.Sink {
			return audit.Chain(audit.Tee(audit.InsecureBestEffort(audit.Guard(s)), audit.JSON(io.Discard)), nil)
		},
	} {
		to := &batcher{}
		if err := audit.WriteBatch(t.Context(), wrap(to), batch); err != nil || len(to.given()) != 1 {
			t.Errorf("%s: %v, batches %q", name, err, to.given())
		}
	}
	var rec audittest.Recorder
	n := 0
	to := sinkFunc(func(ctx context.Context, r audit.Record) error {
		if n++; n == 3 {
			return io.ErrClosedPipe
		}
		return rec.Write(ctx, r)
	})
	if err := audit.WriteBatch(t.Context(), to, batch); !errors.Is(err, io.ErrClosedPipe) || n != 3 || len(rec.Records()) != 2 {
		t.Errorf("one by one: %v, %d of %d", err, len(rec.Records()), n)
	}
}

type span struct{}

// A sink that takes no batches finds each record's own span in its context, and no other's, also where the record comes
// with others or later.
func TestARecordOfABatchKeepsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		var got []string
		tracer := sinkFunc(func(ctx context.Context, r audit.Record) error {
			mu.Lock()
			defer mu.Unlock()
			of, _ := ctx.Value(span{}).(string)
			got = append(got, r.ID+" of "+of)
			return nil
		})
		to := &batcher{do: func(_ context.Context, batch int, rs []audit.Record) (int, error) {
			switch batch {
			case 0:
				<-release
			case 1:
				return 0, io.ErrClosedPipe
			}
			return len(rs), nil
		}}
		box := newOutbox(t, audit.Tee(tracer, to), outboxPath(t), nil)
		s := audit.Chain(box, nil)
		var wg sync.WaitGroup
		write := func(id string) {
			wg.Go(func() {
				if err := s.Write(context.WithValue(t.Context(), span{}, id), of(audit.Outcome, id)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		write("a")
		write("b")
		write("c")
		close(release)
		wg.Wait()
		if err := s.Write(context.WithValue(t.Context(), span{}, "i"), of(audit.Intent, "i")); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"a of a", "b of b", "c of c", "b of ", "c of ", "i of i"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		_ = box.Close()
	})
}

// A batch may fill more than one file, and no file gets longer than it may.
func TestFileTakesBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	s := newFile(t, path, &audit.FileOptions{MaxBytes: 400})
	var want []string
	for n := range 5 {
		var batch []audit.Record
		for i := range 7 {
			id := fmt.Sprint(n, "-", i)
			want, batch = append(want, id), append(batch, record(id))
		}
		if err := s.WriteBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteBatch(t.Context(), nil); err != nil {
		t.Errorf("no records: %v", err)
	}
	old, err := s.Rotated()
	if err != nil || len(old) < 3 {
		t.Fatalf("%d files, %v", len(old), err)
	}
	if got := idsIn(t, append(old, path)...); !slices.Equal(got, want) {
		t.Errorf("the records are %q", got)
	}
	for _, p := range append(old, path) {
		if size(t, p) > 400 {
			t.Errorf("%s has %d bytes", p, size(t, p))
		}
	}
}

type following struct{ audittest.Recorder }

func (*following) Begin(ctx context.Context) context.Context           { return ctx }
func (*following) Forward(_, outgoing context.Context) context.Context { return outgoing }
func (*following) End(context.Context, audit.Record)                   {}

// What follows calls is found behind all that stands before a sink.
func TestFollowersAreFoundBehindAll(t *testing.T) {
	var f following
	s := audit.Tee(audit.InsecureDiscard(), audit.Chain(newOutbox(t, audit.InsecureBuffer(audit.Guard(&f), nil), outboxPath(t), nil), nil))
	if got := audit.Followers(s); len(got) != 1 || got[0] != audit.Follower(&f) {
		t.Errorf("got %v", got)
	}
}
