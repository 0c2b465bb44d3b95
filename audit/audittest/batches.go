package audittest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

// batchLaws are those of a sink that takes batches.
var batchLaws = []law{
	{"a batch reads back whole as soon as WriteBatch has returned", batchReadsBack},
	{"of batches and records written at once, none is lost, doubled or torn", batchesAtOnce},
	{"what becomes of the caller's batch afterwards changes no record", batchOwnCopy},
	{"a sink changes nothing in the batch that it is given", batchNoChange},
	{"a batch of no records is no error, and no record", batchOfNone},
	{"when the context ends, WriteBatch returns nil only if all records were kept, and else at most the first ones were", batchEnded},
}

// lawsOf are the laws that hold for the sinks that newSink makes.
func lawsOf(newSink New) []law {
	if s, _ := newSink(); batches(s) != nil {
		return slices.Concat(laws, batchLaws)
	}
	return laws
}

// batches is the sink's WriteBatch, or nil.
func batches(s audit.Sink) func(context.Context, []audit.Record) error {
	if b, ok := s.(audit.BatchSink); ok {
		return b.WriteBatch
	}
	return nil
}

// writeBatch gives s a batch that is contained.
func writeBatch(s audit.Sink, rs []audit.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		err := audit.ErrPanicked
		defer func() {
			_ = recover()
			result <- err
		}()
		err = batches(s)(ctx, rs)
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		return errors.New("WriteBatch does not return")
	}
}

// batch are the records from the first of that number on.
func batch(first, n int) (rs []audit.Record) {
	for i := range n {
		rs = append(rs, numbered(first+i))
	}
	return rs
}

func batchReadsBack(newSink New) error {
	s, read := newSink()
	for i, n := range []int{1, 20, 3} {
		if err := writeBatch(s, batch([]int{0, 1, 21}[i], n)); err != nil {
			return err
		}
		if err := all(read(), []int{1, 21, 24}[i]); err != nil {
			return err
		}
	}
	return nil
}

func batchesAtOnce(newSink New) error {
	const writers, each, size = 6, 4, 5
	s, read := newSink()
	var wg sync.WaitGroup
	failed := make(chan error, 2*writers*each*size)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				failed <- writeBatch(s, batch((w*each+i)*size, size))
			}
		})
		wg.Go(func() {
			for i := range each {
				failed <- write(s, numbered(writers*each*size+w*each+i))
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return all(read(), writers*each*(size+1))
}

func batchOwnCopy(newSink New) error {
	s, read := newSink()
	rs := batch(0, 3)
	if err := writeBatch(s, rs); err != nil {
		return err
	}
	for i := range rs {
		spoil(rs[i])
		rs[i] = audit.Record{}
	}
	return all(read(), 3)
}

func batchNoChange(newSink New) error {
	s, _ := newSink()
	rs := batch(0, 3)
	slices.Reverse(rs)
	if err := writeBatch(s, rs); err != nil {
		return err
	}
	for i, r := range rs {
		if err := compare([]audit.Record{r}, content(numbered(2-i))); err != nil {
			return err
		}
	}
	return nil
}

func batchOfNone(newSink New) error {
	s, read := newSink()
	if err := writeBatch(s, nil); err != nil {
		return err
	}
	return all(read(), 0)
}

func batchEnded(newSink New) error {
	const size = 4
	for looks := range size + 2 {
		s, read := newSink()
		rs := batch(0, size)
		done := make(chan error, 1)
		go func() {
			err := audit.ErrPanicked
			defer func() {
				_ = recover()
				done <- err
			}()
			err = batches(s)(endsAfter(looks), rs)
		}()
		select {
		case err := <-done:
			if err := first(read(), size, err); err != nil {
				return err
			}
		case <-time.After(patience):
			return errors.New("WriteBatch does not return")
		}
	}
	return nil
}

// first fails unless got are all of a batch of that size, or where it failed, the first of them.
func first(got []audit.Record, size int, failed error) error {
	if failed == nil {
		return all(got, size)
	}
	if err := all(got, min(len(got), size)); err != nil {
		return fmt.Errorf("after an error (%w), not the first ones are kept: %w", failed, err)
	}
	return nil
}

// An ending context ends when it has been looked at so many times: in the middle of a batch, for a sink that looks
// between records.
type ending struct {
	context.Context
	looks atomic.Int64
	end   context.CancelFunc
}

func endsAfter(looks int) context.Context {
	e := &ending{}
	e.Context, e.end = context.WithCancel(context.Background())
	e.looks.Store(int64(looks))
	if looks == 0 {
		e.end()
	}
	return e
}

func (e *ending) Err() error {
	if e.looks.Add(-1) < 0 {
		e.end()
	}
	return e.Context.Err()
}
