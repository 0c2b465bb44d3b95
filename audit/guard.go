package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// ErrPanicked says that a sink panicked, or ended its goroutine, instead of answering.
var ErrPanicked = errors.New("audit: the sink did not return")

// underWay is how many writes of one guarded sink may be under way, those that are stuck included.
const underWay = 64

// Write hands r to s and is what callers of a Sink use: a panic of s comes back as an error, and a hang ends
// with ctx. Whatever is not a nil error means that the record may not have been kept.
//
// A sink that hangs and ignores ctx keeps its goroutine. [Guard] bounds how many of them there can be.
func Write(ctx context.Context, s Sink, r Record) error {
	return contain(ctx, s, one(ctx, r), func() {})
}

// WriteBatch hands rs to s as [Write] does one: in one batch where s is a [BatchSink], else one after the other up to the
// first that it does not take.
func WriteBatch(ctx context.Context, s Sink, rs []Record) error {
	return contain(ctx, s, many(ctx, rs), func() {})
}

// Guard returns a sink that writes to s as [Write] does and lets at most 64 writes be under way at once: when a
// sink hangs for good, further writes fail at their deadline without another goroutine for each. [Tee] and
// [InsecureBestEffort] guard what they are given.
func Guard(s Sink) Sink { return guarded(s) }

func guarded(s Sink) *guard {
	if g, ok := s.(*guard); ok {
		return g
	}
	return &guard{s, make(chan struct{}, underWay)}
}

type guard struct {
	Sink
	slots chan struct{}
}

func (g *guard) Write(ctx context.Context, r Record) error { return g.take(ctx, one(ctx, r)) }

func (g *guard) WriteBatch(ctx context.Context, rs []Record) error { return g.take(ctx, many(ctx, rs)) }

func (g *guard) take(ctx context.Context, l load) error {
	select {
	case g.slots <- struct{}{}:
		return contain(ctx, g.Sink, l, func() { <-g.slots })
	case <-ctx.Done():
		return late(ctx)
	}
}

// hand is take, and says how many of the first records were taken for certain: one that does not take batches is given them
// one by one.
func (g *guard) hand(ctx context.Context, l load) (taken int, err error) {
	size := 1
	if batches(g) {
		size = len(l.records)
	}
	for ; taken < len(l.records); taken += size {
		if err := g.take(ctx, l.from(taken).upTo(size)); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// try is take, but what finds no free slot is dropped at once.
func (g *guard) try(ctx context.Context, l load) {
	select {
	case g.slots <- struct{}{}:
		_ = contain(ctx, g.Sink, l, func() { <-g.slots })
	default:
	}
}

func (g *guard) Check(ctx context.Context) error { return Check(ctx, g.Sink) }

// contained marks the sinks of this package that contain what they write to, and so return by the end of ctx.
// Containing them again would be wrong, not only idle: at the end of ctx a tee whose one hanging sink is best
// effort succeeds, and whoever looked at ctx beside it would call that a failure.
type contained interface{ contains() }

func (*guard) contains()     {}
func (tee) contains()        {}
func (bestEffort) contains() {}

// contain runs one write in a goroutine of its own, since a hang cannot be stopped from outside. done is called
// when the sink has returned, however late.
func contain(ctx context.Context, s Sink, l load, done func()) error {
	if _, ok := s.(contained); ok {
		defer done()
		return l.give(ctx, s)
	}
	if ctx.Err() != nil {
		done()
		return late(ctx)
	}
	result := make(chan error, 1)
	go func() {
		defer done()
		protect(ctx, s, l, result)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-result: // both were ready, and the record is kept
		return err
	default:
		return late(ctx)
	}
}

// protect sends the answer of one write. What panics or exits has not answered, and is an error; the panic's
// value is left out unless it is an error of the runtime, since it could hold anything and errors reach logs.
func protect(ctx context.Context, s Sink, l load, result chan<- error) {
	err := ErrPanicked
	defer func() {
		if fault, ok := recover().(runtime.Error); ok {
			err = fmt.Errorf("%w: %w", ErrPanicked, fault)
		}
		result <- err
	}()
	err = l.give(ctx, s)
}

func late(ctx context.Context) error {
	return fmt.Errorf("audit: the sink did not take the record in time: %w", context.Cause(ctx))
}

// Check asks s before the first call whether it can keep records at all, where it can tell: a JSON sink without
// a writer, a tee of nothing, a logger whose level drops allowed calls. A sink of one's own may have a method
// Check(ctx) error to take part.
func Check(ctx context.Context, s Sink) error {
	if s == nil {
		return errNoSink
	}
	if c, ok := s.(interface{ Check(context.Context) error }); ok {
		return c.Check(ctx)
	}
	return nil
}

var errNoSink = errors.New("audit: the sink is nil")
