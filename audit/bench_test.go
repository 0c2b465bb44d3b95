package audit_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

// plain hides that a sink takes batches.
type plain struct{ audit.Sink }

// A store takes two milliseconds for whatever it is given at once, as a database's commit over a network does.
type store struct{}

func (s store) Write(ctx context.Context, r audit.Record) error {
	return s.WriteBatch(ctx, []audit.Record{r})
}

func (store) WriteBatch(context.Context, []audit.Record) error {
	time.Sleep(2 * time.Millisecond)
	return nil
}

// What one record costs, for one call after another and for 16 at a time: with 16, ns/op is the time between two records,
// not how long one takes. In a call there are two, an intent and an outcome. The context has a deadline, as the brake's has, and the sinks are contained, as the brake contains them.
func BenchmarkSinks(b *testing.B) {
	file := func(b *testing.B, o *audit.FileOptions) *audit.FileSink {
		s := audit.File(filepath.Join(b.TempDir(), "audit.jsonl"), o)
		b.Cleanup(func() { _ = s.Close() })
		return s
	}
	outbox := func(b *testing.B, next audit.Sink) audit.Sink {
		s := audit.Outbox(next, filepath.Join(b.TempDir(), "outbox"), nil)
		b.Cleanup(func() { _ = s.Close() })
		return s
	}
	discard := func() audit.Sink { return audit.JSON(io.Discard) }
	noSync := &audit.FileOptions{InsecureNoSync: true}
	for _, bb := range []struct {
		name string
		make func(b *testing.B) audit.Sink
	}{
		{"InsecureDiscard", func(*testing.B) audit.Sink { return audit.InsecureDiscard() }},
		{"JSON", func(*testing.B) audit.Sink { return discard() }},
		{"Slog", func(*testing.B) audit.Sink { return audit.Slog(slog.New(slog.NewJSONHandler(io.Discard, nil))) }},
		{"Tee(JSON,JSON)", func(*testing.B) audit.Sink { return audit.Tee(discard(), discard()) }},
		{"Chain(JSON)", func(*testing.B) audit.Sink { return audit.Chain(discard(), nil) }},
		{"Chain(JSON)/signed", func(*testing.B) audit.Sink { return audit.Chain(discard(), writer(1)) }},
		{"File/InsecureNoSync", func(b *testing.B) audit.Sink { return file(b, noSync) }},
		{"File", func(b *testing.B) audit.Sink { return file(b, nil) }},
		{"InsecureBuffer(File)", func(b *testing.B) audit.Sink {
			s := audit.InsecureBuffer(file(b, nil), nil)
			b.Cleanup(func() { _ = s.Close() })
			return s
		}},
		{"Outbox(File)", func(b *testing.B) audit.Sink { return outbox(b, file(b, nil)) }},
		{"Chain(Outbox(File))/signed", func(b *testing.B) audit.Sink { return audit.Chain(outbox(b, file(b, nil)), writer(1)) }},
		{"Chain(File)/signed", func(b *testing.B) audit.Sink { return audit.Chain(file(b, nil), writer(1)) }},
		{"Chain(File)/signed,one-by-one", func(b *testing.B) audit.Sink { return audit.Chain(plain{file(b, nil)}, writer(1)) }},
		{"store", func(*testing.B) audit.Sink { return store{} }},
		{"InsecureBuffer(store)", func(b *testing.B) audit.Sink {
			s := audit.InsecureBuffer(store{}, nil)
			b.Cleanup(func() { _ = s.Close() })
			return s
		}},
		{"Chain(store)/signed", func(*testing.B) audit.Sink { return audit.Chain(store{}, writer(1)) }},
		{"Chain(store)/signed,one-by-one", func(*testing.B) audit.Sink { return audit.Chain(plain{store{}}, writer(1)) }},
	} {
		b.Run(bb.name+"/1", func(b *testing.B) { benchmark(b, bb.make(b), 1) })
		b.Run(bb.name+"/16", func(b *testing.B) { benchmark(b, bb.make(b), 16) })
	}
}

func benchmark(b *testing.B, s audit.Sink, writers int) {
	turns := make(chan int64, writers)
	failed := make(chan error, writers)
	r := audittest.Full()
	r.Chain = nil
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		go func() {
			var err error
			for n := range turns {
				r := r
				if n%2 == 0 {
					r.Kind = audit.Intent
				}
				if err == nil {
					ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
					err = audit.Write(ctx, s, r)
					cancel()
				}
			}
			failed <- err
		}()
	}
	for n := range b.N {
		turns <- int64(n)
	}
	close(turns)
	for range writers {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}
