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
// changes nothing in rs or in the records' slices, and keeps neither. No records are nothing to do, and no error. Where
// records of several calls go together, the context has the values of none of them.
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
type load struct {
	records []Record
	of      []context.Context // of each record: the context that it was written under
}

func one(ctx context.Context, r Record) load { return many(ctx, []Record{r}) }

func many(ctx context.Context, rs []Record) load {
	return load{rs, slices.Repeat([]context.Context{ctx}, len(rs))}
}

// from is the load without its first n records, upTo that of those alone.
func (l load) from(n int) load { return load{l.records[n:], l.of[n:]} }
func (l load) upTo(n int) load { return load{l.records[:n], l.of[:n]} }

// and is both loads.
func (l load) and(m load) load {
	return load{append(l.records, m.records...), append(l.of, m.of...)}
}

// parts are the stretches of a load that are intents alone or others alone.
func (l load) parts() (parts []load) {
	for len(l.records) > 0 {
		n := 1
		for n < len(l.records) && (l.records[n].Kind == Intent) == l.intents() {
			n++
		}
		parts, l = append(parts, l.upTo(n)), l.from(n)
	}
	return parts
}

// intents says of such a stretch which it is.
func (l load) intents() bool { return l.records[0].Kind == Intent }

// A taker is a sink of this package that hands loads on as they are.
type taker interface {
	take(ctx context.Context, l load) error
}

// give hands the load to s, with the time that ctx leaves. What takes no batches gets each record with the values of the
// context that it was written under: of a call's span, say.
func (l load) give(ctx context.Context, s Sink) error {
	if t, ok := s.(taker); ok {
		return t.take(ctx, l)
	}
	if b, ok := s.(BatchSink); ok && len(l.records) > 1 {
		return b.WriteBatch(ctx, l.records)
	}
	for i, r := range l.records {
		if err := s.Write(under{ctx, context.WithoutCancel(l.of[i])}, r); err != nil {
			return err
		}
	}
	return nil
}

// under is a context with the values of another.
type under struct {
	context.Context
	values context.Context
}

func (u under) Value(key any) any { return u.values.Value(key) }

// AfterFunc spares contexts that are made of this one a goroutine each.
func (u under) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(u.Context, f) }
