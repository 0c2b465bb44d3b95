package audit

import (
	"context"
	"errors"
)

// Tee returns a sink that writes every record to all of sinks, at once, and succeeds when all of them have:
// those wrapped by [InsecureBestEffort] always do. One that fails or hangs does not keep the record from the
// others. A tee of no sinks keeps nothing, so its Write fails.
func Tee(sinks ...Sink) Sink {
	t := make(tee, len(sinks))
	for i, s := range sinks {
		t[i] = guarded(s)
	}
	return t
}

type tee []*guard

var errEmptyTee = errors.New("audit: a tee of no sinks keeps nothing")

func (t tee) Write(ctx context.Context, r Record) error { return t.take(ctx, one(ctx, r)) }

// WriteBatch gives each sink the batch. One that takes no batches gets the records one by one.
func (t tee) WriteBatch(ctx context.Context, rs []Record) error { return t.take(ctx, many(ctx, rs)) }

func (t tee) take(ctx context.Context, l load) error {
	if len(t) == 0 {
		return errEmptyTee
	}
	results := make(chan error, len(t))
	for _, g := range t {
		go func() { results <- g.take(ctx, l) }()
	}
	var errs []error
	for range t {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func (t tee) Check(ctx context.Context) error {
	if len(t) == 0 {
		return errEmptyTee
	}
	var errs []error
	for _, g := range t {
		errs = append(errs, g.Check(ctx))
	}
	return errors.Join(errs...)
}

// InsecureBestEffort returns a sink that tries s and succeeds whatever happens: calls go on that s has no record
// of. It waits for s for half of the time to the deadline, so that whoever waits beside it at the deadline, such as a
// [Chain], has its answer before, or for five seconds where there is none; and no longer at all once 64 writes are stuck in s: then records are dropped at once.
func InsecureBestEffort(s Sink) Sink { return bestEffort{guarded(s)} }

type bestEffort struct{ to *guard }

func (b bestEffort) Write(ctx context.Context, r Record) error {
	return b.take(ctx, one(ctx, r))
}

func (b bestEffort) WriteBatch(ctx context.Context, rs []Record) error {
	return b.take(ctx, many(ctx, rs))
}

func (b bestEffort) take(ctx context.Context, l load) error {
	ctx, cancel := half(ctx)
	defer cancel()
	b.to.try(ctx, l)
	return nil
}

// Check fails when there is no sink at all. What else a sink may have to complain of is taken as wanted, such as a
// logger that drops the records of allowed calls.
func (b bestEffort) Check(context.Context) error {
	if b.to.Sink == nil {
		return errNoSink
	}
	return nil
}

// InsecureDiscard returns a sink that keeps nothing and always succeeds: no call is on record.
func InsecureDiscard() Sink { return discard{} }

type discard struct{}

func (discard) contains() {}

func (discard) Write(context.Context, Record) error { return nil }
