package audittest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
)

// RunIdempotent tries a sink that keeps one record of each id on the laws of that, besides those of [Run]: for sinks behind
// an [audit.Outbox], and whatever else gives a record again. read returns one record of each id.
func RunIdempotent(t *testing.T, newSink New) {
	t.Helper()
	for _, l := range idempotentLaws {
		t.Run(l.sentence, func(t *testing.T) {
			if err := l.try(newSink); err != nil {
				t.Errorf("%s: %v", l.sentence, err)
			}
		})
	}
}

// TestIdempotent is RunIdempotent without a testing.T.
func TestIdempotent(newSink New) error { return broken(idempotentLaws, newSink) }

var idempotentLaws = []law{
	{"a record that is written again is there once, and as it was", again},
	{"a record that is written again at the same time is there once", againAtOnce},
	{"a record that a batch repeats is there once, and the others of the batch are there", againInABatch},
	{"a record that is written again under another link is taken, since the link behind it is of that one", againLinked},
}

func again(newSink New) error {
	s, read := newSink()
	for _, n := range []int{0, 1, 0, 1, 0} {
		if err := write(s, numbered(n)); err != nil {
			return err
		}
	}
	return all(read(), 2)
}

func againAtOnce(newSink New) error {
	s, read := newSink()
	var wg sync.WaitGroup
	failed := make(chan error, 16)
	for w := range 16 {
		wg.Go(func() { failed <- write(s, numbered(w%2)) })
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return all(read(), 2)
}

func againInABatch(newSink New) error {
	s, read := newSink()
	if batches(s) == nil {
		return nil
	}
	if err := write(s, numbered(1)); err != nil {
		return err
	}
	for _, rs := range [][]audit.Record{append(batch(0, 3), numbered(0)), batch(2, 2), batch(2, 2)} {
		if err := writeBatch(s, rs); err != nil {
			return err
		}
	}
	return all(read(), 4)
}

func againLinked(newSink New) error {
	s, read := newSink()
	for n := range int64(3) {
		r := Full()
		r.Chain.N = 7 + n
		r.Chain.Hash = fmt.Sprint("hash ", n)
		if err := write(s, r); err != nil {
			return err
		}
	}
	if got := read(); len(got) != 1 || got[0].ID != Full().ID {
		return fmt.Errorf("%d records of one id", len(got))
	}
	return nil
}

// broken are the laws that the sinks of newSink break, and how.
func broken(laws []law, newSink New) error {
	var errs []error
	for _, l := range laws {
		if err := l.try(newSink); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.sentence, err))
		}
	}
	return errors.Join(errs...)
}
