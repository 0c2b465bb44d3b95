package keybrake

import "context"

// A Call is what a program wants to be said of a call in its record: which tool made it, at which step. It
// never decides anything, because twilio-go passes no context and an agent can write what it likes.
type Call struct {
	Tool string
	Step string
}

type callKey struct{}

// WithCall adds c to the record of the calls made with ctx, where the SDK passes a context.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callFrom(ctx context.Context) Call {
	c, _ := ctx.Value(callKey{}).(Call)
	return c
}
