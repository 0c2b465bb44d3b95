package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

type sinkFunc func(context.Context, audit.Record) error

func (f sinkFunc) Write(ctx context.Context, r audit.Record) error { return f(ctx, r) }

var broken = sinkFunc(func(context.Context, audit.Record) error { return errFull })

// hanging is a sink that ignores its context until release is closed, and counts who is in it.
func hanging(release chan struct{}) (audit.Sink, *atomic.Int64) {
	var inside atomic.Int64
	return sinkFunc(func(context.Context, audit.Record) error {
		inside.Add(1)
		<-release
		return nil
	}), &inside
}

func second(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// All that wraps a sink obeys the laws of one.
func TestWrappersAreSinks(t *testing.T) {
	for name, wrap := range map[string]func(audit.Sink) audit.Sink{
		"Guard":              audit.Guard,
		"Tee":                func(s audit.Sink) audit.Sink { return audit.Tee(s, audit.InsecureDiscard()) },
		"InsecureBestEffort": audit.InsecureBestEffort,
		"all of them":        func(s audit.Sink) audit.Sink { return audit.Guard(audit.Tee(audit.InsecureBestEffort(s))) },
	} {
		t.Run(name, func(t *testing.T) {
			audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
				var r audittest.Recorder
				s := wrap(&r)
				if strings.Contains(name, "Effort") || name == "all of them" {
					return patient{s}, r.Records
				}
				return s, r.Records
			})
		})
	}
}

// patient passes on no context that has ended: best effort promises nothing then, nil included.
type patient struct{ audit.Sink }

func (p patient) Write(ctx context.Context, r audit.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.Sink.Write(ctx, r)
}

func TestWrite(t *testing.T) {
	var rec audittest.Recorder
	if err := audit.Write(t.Context(), &rec, audittest.Full()); err != nil || len(rec.Records()) != 1 {
		t.Errorf("got %v, %d records", err, len(rec.Records()))
	}
	if err := audit.Write(t.Context(), broken, audittest.Full()); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

func TestWriteContainsPanics(t *testing.T) {
	const secret = "sk_live_secret"
	for name, s := range map[string]audit.Sink{
		"a panic":       sinkFunc(func(context.Context, audit.Record) error { panic(secret) }),
		"a nil panic":   sinkFunc(func(context.Context, audit.Record) error { panic(nil) }),
		"a nil pointer": (*audittest.Recorder)(nil),
		"a nil sink":    nil,
		"a nil func":    sinkFunc(nil),
		"an exit":       sinkFunc(func(context.Context, audit.Record) error { runtime.Goexit(); return nil }),
	} {
		for how, write := range map[string]func() error{
			"Write": func() error { return audit.Write(t.Context(), s, audittest.Full()) },
			"Guard": func() error { return audit.Guard(s).Write(t.Context(), audittest.Full()) },
			"Tee":   func() error { return audit.Tee(audit.InsecureDiscard(), s).Write(t.Context(), audittest.Full()) },
		} {
			if err := write(); !errors.Is(err, audit.ErrPanicked) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
		if err := audit.InsecureBestEffort(s).Write(t.Context(), audittest.Full()); err != nil {
			t.Errorf("%s, best effort: %v", name, err)
		}
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		s, _ := hanging(release)
		start := time.Now()
		err := audit.Write(second(t), s, audittest.Full())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestWriteAfterItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errFull)
		var rec audittest.Recorder
		for _, s := range []audit.Sink{&rec, audit.Guard(&rec), audit.Tee(&rec)} {
			if err := audit.Write(ctx, s, audittest.Full()); !errors.Is(err, errFull) {
				t.Errorf("got %v", err)
			}
		}
		synctest.Wait()
		if n := len(rec.Records()); n != 0 {
			t.Errorf("%d records were written", n)
		}
	})
}

func TestGuardOnce(t *testing.T) {
	g := audit.Guard(broken)
	if audit.Guard(g) != g {
		t.Error("a guard of a guard is another")
	}
}

// A fault of the runtime is named, since somebody has to find it; what a sink panics with is not.
func TestPanicsNameTheRuntimesFault(t *testing.T) {
	var fault runtime.Error
	if err := audit.Write(t.Context(), (*audittest.Recorder)(nil), audittest.Full()); !errors.As(err, &fault) {
		t.Errorf("got %v", err)
	}
}

// A guarded sink that hangs for good collects 64 writes and no more; when it recovers, so does the guard.
func TestGuardBoundsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, inside := hanging(release)
		g := audit.Guard(s)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := audit.Write(second(t), g, audittest.Full()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if n := inside.Load(); n != 64 {
			t.Errorf("%d writes are in the sink", n)
		}
		if err := g.Write(second(t), audittest.Full()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		synctest.Wait()
		for range 100 {
			if err := g.Write(second(t), audittest.Full()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A slot is given back by writes that fail, panic or find their context over.
func TestGuardGivesSlotsBack(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var rec audittest.Recorder
	mode := 0
	g := audit.Guard(sinkFunc(func(ctx context.Context, r audit.Record) error {
		switch mode {
		case 0:
			return errFull
		case 1:
			panic("full")
		}
		return rec.Write(ctx, r)
	}))
	for mode = range 2 {
		for range 100 {
			_ = g.Write(t.Context(), audittest.Full())
		}
	}
	mode = 2
	for range 200 {
		_ = g.Write(over, audittest.Full())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := g.Write(ctx, audittest.Full()); err != nil {
		t.Error(err)
	}
}

func TestTee(t *testing.T) {
	other := errors.New("other")
	var first, last audittest.Recorder
	tee := audit.Tee(&first, broken, sinkFunc(func(context.Context, audit.Record) error { return other }), &last)
	err := tee.Write(t.Context(), audittest.Full())
	if !errors.Is(err, errFull) || !errors.Is(err, other) {
		t.Errorf("not all errors are in %v", err)
	}
	if len(first.Records()) != 1 || len(last.Records()) != 1 {
		t.Error("a sink that fails keeps the record from others")
	}
	if err := audit.Tee(&first, audit.InsecureBestEffort(broken)).Write(t.Context(), audittest.Full()); err != nil {
		t.Errorf("best effort in a tee: %v", err)
	}
	if audit.Tee().Write(t.Context(), audittest.Full()) == nil {
		t.Error("a tee of nothing keeps records")
	}
}

// A sink that hangs keeps the record from no other, and fails the write only where it is required.
func TestTeeHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		s, _ := hanging(release)
		for range 20 { // the end of the context and the tee's own answer come at once
			var rec audittest.Recorder
			if err := audit.Write(second(t), audit.Tee(s, &rec), audittest.Full()); !errors.Is(err, context.DeadlineExceeded) || len(rec.Records()) != 1 {
				t.Errorf("required: %v, %d records", err, len(rec.Records()))
			}
			effort := audit.InsecureBestEffort(s)
			if err := audit.Write(second(t), audit.Guard(audit.Tee(effort, &rec)), audittest.Full()); err != nil || len(rec.Records()) != 2 {
				t.Errorf("best effort: %v, %d records", err, len(rec.Records()))
			}
			if err := audit.Write(second(t), effort, audittest.Full()); err != nil {
				t.Errorf("best effort alone: %v", err)
			}
		}
	})
}

// Once 64 writes are stuck in it, a best-effort sink costs nobody any time.
func TestBestEffortStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		s, _ := hanging(release)
		effort := audit.InsecureBestEffort(s)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { _ = effort.Write(second(t), audittest.Full()) })
		}
		wg.Wait()
		start := time.Now()
		if err := effort.Write(second(t), audittest.Full()); err != nil || time.Since(start) != 0 {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// A best-effort sink that hangs refuses no call, whatever stands before it and waits until the same deadline.
func TestABestEffortSinkThatHangsRefusesNothing(t *testing.T) {
	for name, wrap := range map[string]func(audit.Sink) audit.Sink{
		"Chain":           func(s audit.Sink) audit.Sink { return audit.Chain(s, nil) },
		"Chain of a Tee":  func(s audit.Sink) audit.Sink { return audit.Chain(audit.Tee(&audittest.Recorder{}, s), nil) },
		"Tee of a Chain":  func(s audit.Sink) audit.Sink { return audit.Tee(audit.Chain(s, nil)) },
		"Chain of Chains": func(s audit.Sink) audit.Sink { return audit.Chain(audit.Chain(s, nil), nil) },
	} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			s, _ := hanging(release)
			sink := audit.Guard(wrap(audit.InsecureBestEffort(s)))
			for range 5 {
				start := time.Now()
				if err := audit.Write(second(t), sink, audittest.Full()); err != nil || time.Since(start) >= time.Second {
					t.Errorf("%s: %v after %v", name, err, time.Since(start))
				}
			}
		})
	}
}

func TestInsecureDiscard(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := audit.Write(ctx, audit.InsecureDiscard(), audittest.Full()); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	var rec audittest.Recorder
	for name, s := range map[string]audit.Sink{
		"a sink that cannot tell": &rec, "JSON": audit.JSON(&strings.Builder{}), "discard": audit.InsecureDiscard(),
		"a tee": audit.Tee(&rec, audit.JSON(&strings.Builder{})), "best effort": audit.InsecureBestEffort(&rec), "guarded": audit.Guard(&rec),
		"best effort of a bad one": audit.InsecureBestEffort(audit.Slog(slog.New(slog.DiscardHandler))),
	} {
		if err := audit.Check(t.Context(), s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]audit.Sink{
		"nil": nil, "JSON of no writer": audit.JSON(nil), "an empty tee": audit.Tee(), "a tee of nil": audit.Tee(&rec, nil),
		"a tee of a bad one": audit.Tee(&rec, audit.JSON(nil)), "best effort of nil": audit.InsecureBestEffort(nil), "guarded": audit.Guard(audit.JSON(nil)),
	} {
		if audit.Check(t.Context(), s) == nil {
			t.Errorf("%s: passes", name)
		}
	}
}
