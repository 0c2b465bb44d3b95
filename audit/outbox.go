package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// OutboxOptions are the options of an [OutboxSink].
type OutboxOptions struct {
	// Records is how many may wait in the file. When that many do, one more is an error. Default: 65536.
	Records int
}

// An OutboxSink hands records to another sink, and keeps what that one does not take in a file until it does.
//
// An intent goes to next alone, and fails when next does: the call is refused. All other records say what has happened
// already, when it is too late to refuse. One that next fails to take, or has not taken by half the time to the deadline,
// is written to the file, and Write returns nil when it is on the disk. A goroutine hands it on later, and so does every
// intent before itself, with no new traffic and after a restart too: in order, and out of the file only when next has it.
// While anything waits, no record passes it: an intent that cannot have all of it delivered fails, others wait behind it. So
// a [Chain] may stand before an outbox, and calls stop within one record of the sink's failure. A record that next can never
// take holds up all that come after it, until a person has looked.
//
// Each record is handed on once, with two exceptions, both as it is and under its id: what next took although it failed or
// came late, and what was delivered just before the process died. A sink that keeps one record of each id keeps one, and
// readers count one; [Verify] knows what stands twice for that reason.
//
// The file is its owner's alone, mode 0600, and one process's, which a lock beside it sees to where the system has flock. It
// survives the process and the machine at any point: what was cut off in a line that was not acknowledged is dropped. A file
// that is damaged otherwise is refused, and so are calls.
type OutboxSink struct {
	next *guard
	path string
	o    OutboxOptions

	turn    turn // of what follows, up to the blank line
	file    *outboxFile
	closed  bool
	running bool // what waits is handed on in the background

	waiting  atomic.Int64
	delivery turn // held by the one delivery that is under way; of what follows
	most     int  // how many records it may try at once: fewer after each failure, lest they be too many for the time

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // what runs in the background
}

// Outbox returns a sink that writes to next and keeps in the file of that path what next does not take. The file is opened,
// and made if there is none, by Check or at the first write; what an earlier process has left in it is handed on from then.
func Outbox(next Sink, path string, o *OutboxOptions) *OutboxSink {
	s := &OutboxSink{next: guarded(next), path: path, o: *cmp.Or(o, &OutboxOptions{}), turn: newTurn(), delivery: newTurn(), most: mostInBatch}
	s.o.Records = cmp.Or(s.o.Records, 1<<16)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Check opens the file, and asks next.
func (s *OutboxSink) Check(ctx context.Context) error {
	if s.path == "" || s.o.Records < 0 {
		return errors.New("audit: Outbox needs a path, and Records that are not negative")
	}
	if err := s.turn.do(ctx, s.ready); err != nil {
		return err
	}
	return s.next.Check(ctx)
}

// Waiting is how many records wait in the file, since it was opened: more than none for longer than a moment means that next
// is out, and that no call goes through.
func (s *OutboxSink) Waiting() int { return int(s.waiting.Load()) }

func (s *OutboxSink) Write(ctx context.Context, r Record) error { return s.take(ctx, one(ctx, r)) }

// WriteBatch takes rs as if they were written one after the other.
func (s *OutboxSink) WriteBatch(ctx context.Context, rs []Record) error {
	return s.take(ctx, many(ctx, rs))
}

func (s *OutboxSink) take(ctx context.Context, l load) error {
	for _, part := range l.parts() {
		put := s.put
		if part.intents() {
			put = s.pass
		}
		if err := put(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// put hands to next what may wait in the file, or keeps it there.
func (s *OutboxSink) put(ctx context.Context, l load) error {
	var behind bool
	err := s.turn.do(ctx, func() (err error) {
		if err = s.ready(); err == nil && s.file.waits() > 0 {
			behind, err = true, s.keep(l.records)
		}
		return err
	})
	if err != nil || behind {
		return err
	}
	n, failed := s.hand(ctx, l)
	if failed == nil {
		return nil
	}
	if err := s.turn.do(ctx, func() error { return s.keep(l.records[n:]) }); err != nil {
		return errors.Join(failed, err)
	}
	return nil
}

// pass hands intents to next, and what waits before them.
func (s *OutboxSink) pass(ctx context.Context, l load) error {
	ctx, cancel := half(ctx)
	defer cancel()
	for left := true; left; {
		var err error
		if left, err = s.some(ctx); err != nil {
			return fmt.Errorf("audit: what waits for the sink comes first: %w", err)
		}
	}
	return s.next.take(ctx, l)
}

// hand gives a load to next, and says how many of the first it has taken for certain.
func (s *OutboxSink) hand(ctx context.Context, l load) (taken int, err error) {
	ctx, cancel := half(ctx)
	defer cancel()
	return s.next.hand(ctx, l)
}

// longest is how long a sink may take for records that nobody waits for.
const longest = 5 * time.Second

// half is half of the time that there is: as much is left for the file, or for who waits behind.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	until, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, longest)
	}
	return context.WithTimeout(ctx, time.Until(until)/2)
}

// some hands next the oldest of what waits, if anything does, and says whether more is left.
func (s *OutboxSink) some(ctx context.Context) (left bool, err error) {
	err = s.delivery.do(ctx, func() error {
		var rs []Record
		err := s.turn.do(ctx, func() (err error) {
			if err = s.ready(); err == nil {
				rs, err = s.file.oldest(s.most)
			}
			return err
		})
		if err != nil || len(rs) == 0 {
			return err
		}
		n, err := s.hand(ctx, many(context.Background(), rs))
		s.most = min(2*s.most, mostInBatch)
		if err != nil {
			s.most = max(len(rs)/2, 1)
		}
		// Whatever ctx says now: next has them.
		_ = s.turn.do(context.Background(), func() error {
			left = s.taken(n)
			return nil
		})
		return err
	})
	return left, err
}

// ready opens the file, if it is not open, and sees to it that what waits in it is handed on.
func (s *OutboxSink) ready() (err error) {
	if s.closed {
		return errFileClosed
	}
	if s.file == nil {
		if s.file, err = openOutbox(s.path); err != nil {
			return fmt.Errorf("audit: outbox %s: %w", s.path, err)
		}
		s.count()
	}
	return nil
}

// keep writes rs to the file. It comes in turn, and so not when ctx has ended: then who gave rs has gone on, and what he gave
// after it may have passed by the file.
func (s *OutboxSink) keep(rs []Record) error {
	switch {
	case s.closed:
		return errFileClosed
	case s.file.waits()+len(rs) > s.o.Records:
		return fmt.Errorf("audit: outbox %s: %d records wait already", s.path, s.file.waits())
	}
	defer s.count()
	if err := s.file.add(rs); err != nil {
		return fmt.Errorf("audit: outbox %s: %w", s.path, err)
	}
	return nil
}

func (s *OutboxSink) taken(n int) (left bool) {
	if s.closed || n == 0 {
		return false
	}
	defer s.count()
	s.file.taken(n)
	return s.file.waits() > 0
}

// count notes how many wait, and sees to it that they are handed on.
func (s *OutboxSink) count() {
	s.waiting.Store(int64(s.file.waits()))
	if s.file.waits() > 0 && !s.running {
		s.running = true
		s.work.Go(s.deliver)
	}
}

// The pauses between two attempts to hand on what waits.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// deliver hands on what waits until nothing does.
func (s *OutboxSink) deliver() {
	for pause := firstPause; s.goesOn(); {
		ctx, cancel := context.WithTimeout(context.Background(), longest) // Close waits for it, lest next has records twice
		_, err := s.some(ctx)
		cancel()
		if err == nil {
			pause = firstPause
			continue
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// goesOn says whether there is something to hand on. Otherwise the goroutine that asks has ended.
func (s *OutboxSink) goesOn() (on bool) {
	_ = s.turn.do(context.Background(), func() error {
		s.running = !s.closed && s.file.waits() > 0
		on = s.running
		return nil
	})
	return on
}

// Close ends what goes on in the background, within five seconds, and closes the file, which stays for the next process with all that waits in it.
// Later writes fail.
func (s *OutboxSink) Close() error {
	_ = s.turn.do(context.Background(), func() error {
		s.closed = true
		s.cancel()
		return nil
	})
	s.work.Wait()
	return s.turn.do(context.Background(), func() error {
		if s.file == nil {
			return nil
		}
		err := s.file.close()
		s.file = nil
		return err
	})
}
