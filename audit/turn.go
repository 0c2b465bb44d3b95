package audit

import "context"

// A turn is a mutex that a waiter can give up on, so that what is stuck does not collect goroutines.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// do does f when it is its turn, and fails when ctx ends before: then who waits for f has gone on, and may have given the
// sink what comes after it.
func (t turn) do(ctx context.Context, f func() error) error {
	select {
	case t <- struct{}{}:
		defer func() { <-t }()
		if ctx.Err() != nil {
			return late(ctx)
		}
		return f()
	case <-ctx.Done():
		return late(ctx)
	}
}
