package audit

import (
	"context"
	"slices"
)

// A BatchSink takes many records for about the price of one: one sync, one transaction. A [Chain] and the sinks of this
// package that stand before others give it batches; any caller does by [WriteBatch].
//
// WriteBatch takes all of rs, in their order. When it returns nil, each is as durable as after Write. On error nothing may
// be assumed of any of them, but that those which are kept are the first ones: a sink that can takes all or none. A sink
// changes nothing in rs or in the records' slices, and keeps neither. No records are nothing to do, and no error.
type BatchSink interface {
	Sink
	WriteBatch(ctx context.Context, rs []Record) error
}

// batches says whether s gains by batches.
func batches(s Sink) bool {
	switch s := s.(type) {
	case *guard:
		return batches(s.Sink)
	case bestEffort:
		return batches(s.to)
	case tee:
		return slices.ContainsFunc(s, func(g *guard) bool { return batches(g) })
	}
	_, ok := s.(BatchSink)
	return ok
}

// A load is what a sink is given at once.
type load func(context.Context, Sink) error

func one(r Record) load {
	return func(ctx context.Context, s Sink) error { return s.Write(ctx, r) }
}

func many(rs []Record) load {
	return func(ctx context.Context, s Sink) error {
		if b, ok := s.(BatchSink); ok {
			return b.WriteBatch(ctx, rs)
		}
		for _, r := range rs {
			if err := s.Write(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}
