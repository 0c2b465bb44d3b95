package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

func numbers(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(i))
	}
	return ids
}

func TestBufferIsASink(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		var r audittest.Recorder
		s := audit.InsecureBuffer(&r, nil)
		t.Cleanup(func() { _ = s.Close() })
		return s, func() []audit.Record {
			if err := s.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			return r.Records()
		}
	})
}

// Records go on in batches: a full one at once, another when its oldest has waited long enough.
func TestBufferHandsOnBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		to := &batcher{do: func(_ context.Context, _ int, rs []audit.Record) (int, error) {
			at = append(at, time.Since(start))
			return len(rs), nil
		}}
		s := audit.InsecureBuffer(to, &audit.BufferOptions{Batch: 4, Every: time.Second})
		for _, id := range numbers(10) {
			if err := s.Write(t.Context(), of(audit.Intent, id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := [][]string{{"0", "1", "2", "3"}, {"4", "5", "6", "7"}, {"8", "9"}}
		if got := to.given(); !slices.EqualFunc(got, want, slices.Equal) || !slices.Equal(at, []time.Duration{0, 0, time.Second}) || s.Waiting() != 0 {
			t.Errorf("got %q at %v", got, at)
		}
		_ = s.Close()
	})
}

// A full buffer makes calls wait, and refuses them when the sink does not come back: no more is lost with the process.
func TestAFullBufferHoldsCallsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r audittest.Recorder
		r.Fail(errFull)
		s := audit.InsecureBuffer(&r, &audit.BufferOptions{Records: 5, Every: time.Millisecond})
		for _, id := range numbers(5) {
			if err := s.Write(t.Context(), of(audit.Intent, id)); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if err := s.Write(five(t), of(audit.Intent, "refused")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("one more: %v after %v", err, time.Since(start))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Write(t.Context(), of(audit.Intent, "waits")); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.Waiting() != 5 {
			t.Errorf("%d of 5 are in the buffer", s.Waiting())
		}
		r.Fail(nil)
		wg.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := idsOf(r.Records()); !slices.Equal(got, append(numbers(5), "waits")) || s.Waiting() != 0 {
			t.Errorf("got %q", got)
		}
		_ = s.Close()
	})
}

// What a sink does not take stays in order, and a batch that is too much for it gets smaller.
func TestBufferTriesAgainInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []int
		to := &batcher{do: func(_ context.Context, _ int, rs []audit.Record) (int, error) {
			if tries = append(tries, len(rs)); len(rs) > 3 {
				return 0, io.ErrShortBuffer
			}
			return len(rs), nil
		}}
		s := audit.InsecureBuffer(to, &audit.BufferOptions{Batch: 16})
		for _, id := range numbers(20) {
			if err := s.Write(t.Context(), of(audit.Outcome, id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := idsOf(to.Records()); !slices.Equal(got, numbers(20)) {
			t.Errorf("got %q in batches of %v", got, tries)
		}
		if !slices.Equal(tries[:4], []int{16, 8, 4, 2}) {
			t.Errorf("it tries %v", tries)
		}
		_ = s.Close()
	})
}

// Of a sink that takes one record at a time, those that it took are not given again.
func TestBufferGivesWhatWasTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r audittest.Recorder
		n := 0
		s := audit.InsecureBuffer(sinkFunc(func(ctx context.Context, rec audit.Record) error {
			if n++; n%5 == 0 {
				return errFull
			}
			return r.Write(ctx, rec)
		}), nil)
		for _, id := range numbers(50) {
			if err := s.Write(t.Context(), of(audit.Outcome, id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		if got := idsOf(r.Records()); !slices.Equal(got, numbers(50)) {
			t.Errorf("got %q", got)
		}
		_ = s.Close()
	})
}

func TestFlushAndCloseDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r audittest.Recorder
		s := audit.InsecureBuffer(&r, &audit.BufferOptions{Every: time.Hour, Batch: 8})
		put := func(ids ...string) {
			for _, id := range ids {
				if err := s.Write(t.Context(), of(audit.Outcome, id)); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(numbers(5)...)
		r.Fail(errFull)
		if err := s.Flush(t.Context()); !errors.Is(err, errFull) || s.Waiting() != 5 {
			t.Errorf("got %v, %d wait", err, s.Waiting())
		}
		r.Fail(nil)
		if err := s.Flush(t.Context()); err != nil || !slices.Equal(idsOf(r.Records()), numbers(5)) {
			t.Errorf("%v, got %q", err, idsOf(r.Records()))
		}
		put("last")
		if err := s.Close(); err != nil || len(r.Records()) != 6 {
			t.Errorf("%v, got %q", err, idsOf(r.Records()))
		}
		if err := s.Write(t.Context(), of(audit.Outcome, "late")); err == nil {
			t.Error("a closed buffer takes a record")
		}
		stuck := audit.InsecureBuffer(&r, nil)
		r.Fail(errFull)
		if err := errors.Join(stuck.Write(t.Context(), of(audit.Outcome, "x")), stuck.Close()); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "1 records") {
			t.Errorf("what is lost: %v", err)
		}
	})
}

// A process that dies loses no more than the options say.
func TestBufferNeverHoldsMore(t *testing.T) {
	var r audittest.Recorder
	var wg sync.WaitGroup
	most := 0
	var s *audit.BufferSink
	var mu sync.Mutex
	s = audit.InsecureBuffer(sinkFunc(func(ctx context.Context, rec audit.Record) error {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, s.Waiting())
		return r.Write(ctx, rec)
	}), &audit.BufferOptions{Records: 10, Batch: 3, Every: time.Millisecond})
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				if err := s.Write(context.Background(), of(audit.Outcome, fmt.Sprint(w, "-", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil || len(r.Records()) != 240 || most > 10 {
		t.Errorf("%v, %d records, %d at most in the buffer", err, len(r.Records()), most)
	}
}

func TestBufferOfWhatDoesNotWork(t *testing.T) {
	for name, s := range map[string]audit.Sink{
		"less than none":    audit.InsecureBuffer(audit.InsecureDiscard(), &audit.BufferOptions{Records: -1}),
		"no sink":           audit.InsecureBuffer(nil, nil),
		"a sink of nothing": audit.InsecureBuffer(audit.JSON(nil), nil),
	} {
		if audit.Check(t.Context(), s) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// A buffer takes many calls' records in memory, and the file one batch of them.
func ExampleInsecureBuffer() {
	var store audittest.Recorder
	sink := audit.InsecureBuffer(&store, &audit.BufferOptions{Records: 500}) // at most 500 are lost with the process
	_ = sink.Write(context.Background(), audit.Record{Version: 1, ID: "e1", Kind: audit.Intent})
	fmt.Println(len(store.Records()), "of", sink.Waiting())
	fmt.Println(sink.Close(), len(store.Records()))
	// Output:
	// 0 of 1
	// <nil> 1
}
