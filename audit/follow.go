package audit

import "context"

// A Follower is a sink that also sees each call begin and end, as a tracer has to. Both come on the call's own goroutine
// and must not block; one that panics is left out, and the call goes on.
type Follower interface {
	Sink

	// Begin is called before a call is looked at. Under the context that it returns the call's records come to Write.
	Begin(ctx context.Context) context.Context

	// Forward returns outgoing with what of ctx the transport to the vendor is to see, such as a span for one that traces
	// too. outgoing has none of the values of the caller's context, and must get none of them as they are: a caller's
	// httptrace would be shown the real credential.
	Forward(ctx, outgoing context.Context) context.Context

	// End is called once for each call that was begun, when the agent's answer is ready: r is the record of its outcome, or
	// of its refusal, also of one that is counted with others and has no record of its own. A call that is a look of the
	// brake itself is part of the call that needs it. ctx is what Begin has returned.
	End(ctx context.Context, r Record)
}

// Followers are the followers among the sinks that s is made of, s itself included: those that [Tee], [Chain],
// [InsecureBestEffort] and the others of this package write to.
func Followers(s Sink) (list []Follower) {
	if f, ok := s.(Follower); ok {
		return []Follower{f}
	}
	if outer, ok := s.(interface{ writesTo() []Sink }); ok {
		for _, inner := range outer.writesTo() {
			list = append(list, Followers(inner)...)
		}
	}
	return list
}

func (g *guard) writesTo() []Sink      { return []Sink{g.Sink} }
func (b bestEffort) writesTo() []Sink  { return []Sink{b.to} }
func (s *OutboxSink) writesTo() []Sink { return []Sink{s.next} }
func (s *BufferSink) writesTo() []Sink { return []Sink{s.next} }
func (c *chain) writesTo() []Sink      { return []Sink{c.to} }

func (t tee) writesTo() (all []Sink) {
	for _, g := range t {
		all = append(all, g)
	}
	return all
}

// Begin tells a follower of a call that begins. One that panics or returns nil has not changed the context.
func Begin(ctx context.Context, f Follower) context.Context {
	return follow(ctx, func() context.Context { return f.Begin(ctx) })
}

// Forward asks a follower what the transport to the vendor is to see. One that panics or returns nil shows it nothing.
func Forward(ctx, outgoing context.Context, f Follower) context.Context {
	return follow(outgoing, func() context.Context { return f.Forward(ctx, outgoing) })
}

func follow(was context.Context, change func() context.Context) (now context.Context) {
	defer func() {
		if recover() != nil || now == nil {
			now = was
		}
	}()
	return change()
}

// End tells a follower of a call that has ended.
func End(ctx context.Context, f Follower, r Record) {
	defer func() { _ = recover() }()
	f.End(ctx, r)
}
