package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// BufferOptions are the options of a [BufferSink].
type BufferOptions struct {
	// Records is how many are in memory at most, and so how many are lost with the process. Default: 1024.
	Records int

	// Batch is how many are handed on at once. Default: 256, or Records if that is less.
	Batch int

	// Every is how long a record waits for others to go with it. Default: 100 ms.
	Every time.Duration
}

// A BufferSink keeps records in memory and hands them on in batches: a call waits for no disk and no server. What it costs
// is that no record is safe when Write returns: a process that dies loses those in the buffer, and with them the intents of
// calls that were forwarded. Then the ledger alone says that there were such calls.
//
// When the buffer is full, Write waits, and fails at the end of its context: a sink that is slow slows calls down, and one
// that is stuck stops them. What next does not take stays in the buffer and is handed on again, in order. What next took
// although it failed or came late, it has twice, under one id.
type BufferSink struct {
	next *guard
	o    BufferOptions
	room chan struct{} // has an element for each record that is kept
	full chan struct{} // there may be a batch

	mu      sync.Mutex // of what follows, up to the blank line
	records []Record   // the oldest first, those that are being handed on included
	running bool       // they are handed on in the background
	closed  bool

	delivery turn // held by the one delivery that is under way; of what follows
	most     int  // how many records it may try at once: fewer after each failure, lest they be too many for the time

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // what runs in the background
}

// InsecureBuffer returns a sink that keeps records in memory until next takes them; see [BufferSink] for what that costs.
func InsecureBuffer(next Sink, o *BufferOptions) *BufferSink {
	s := &BufferSink{next: guarded(next), o: *cmp.Or(o, &BufferOptions{}), full: make(chan struct{}, 1), delivery: newTurn()}
	s.o.Records = cmp.Or(s.o.Records, 1024)
	s.o.Batch = min(cmp.Or(s.o.Batch, mostInBatch), s.o.Records)
	s.o.Every = cmp.Or(s.o.Every, 100*time.Millisecond)
	s.room = make(chan struct{}, max(s.o.Records, 0))
	s.most = s.o.Batch
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Check fails where nothing could be kept, and where next does.
func (s *BufferSink) Check(ctx context.Context) error {
	if s.o.Records < 0 || s.o.Batch < 0 || s.o.Every < 0 {
		return errors.New("audit: InsecureBuffer needs Records, Batch and Every that are not negative")
	}
	return s.next.Check(ctx)
}

// Waiting is how many records are in the buffer.
func (s *BufferSink) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// Write returns when the record is in the buffer.
func (s *BufferSink) Write(ctx context.Context, r Record) error {
	select {
	case s.room <- struct{}{}:
	case <-ctx.Done():
		return late(ctx)
	case <-s.ctx.Done():
		return errBufferClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		<-s.room
		return errBufferClosed
	}
	s.records = append(s.records, r.Clone())
	s.wake()
	if !s.running {
		s.running = true
		s.work.Go(s.deliver)
	}
	return nil
}

var errBufferClosed = errors.New("audit: the buffer is closed")

// wake says that there is a batch, if there is. mu is held.
func (s *BufferSink) wake() {
	if len(s.records) < s.o.Batch {
		return
	}
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// deliver hands on what is in the buffer until nothing is.
func (s *BufferSink) deliver() {
	for pause := time.Duration(0); s.goesOn(); {
		s.wait(pause)
		ctx, cancel := context.WithTimeout(context.Background(), longest) // Close waits for it, lest next has records twice
		_, err := s.some(ctx)
		cancel()
		if err == nil {
			pause = 0
		} else {
			pause = min(max(2*pause, firstPause), lastPause)
		}
	}
}

// goesOn says whether there is something to hand on. Otherwise the goroutine that asks has ended.
func (s *BufferSink) goesOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = !s.closed && len(s.records) > 0
	return s.running
}

// wait waits for a batch to come together, or as long as it has to after a failure.
func (s *BufferSink) wait(pause time.Duration) {
	full := s.full
	if pause > 0 {
		full = nil
	}
	select {
	case <-full:
	case <-time.After(cmp.Or(pause, s.o.Every)):
	case <-s.ctx.Done():
	}
}

// some hands next the oldest records, and says how many it has taken.
func (s *BufferSink) some(ctx context.Context) (taken int, err error) {
	err = s.delivery.do(ctx, func() error {
		s.mu.Lock()
		rs := s.records[:min(len(s.records), s.most)]
		s.mu.Unlock()
		taken, err = s.next.hand(ctx, many(context.Background(), rs))
		s.most = min(2*s.most, s.o.Batch)
		if err != nil {
			s.most = max(len(rs)/2, 1)
		}
		s.mu.Lock()
		s.records = s.records[taken:]
		s.wake()
		s.mu.Unlock()
		for range taken {
			<-s.room
		}
		return err
	})
	return taken, err
}

// Flush returns when next has taken all that is in the buffer now. After an error the rest stays in it.
func (s *BufferSink) Flush(ctx context.Context) error {
	for left := s.Waiting(); left > 0; {
		taken, err := s.some(ctx)
		if err != nil {
			return err
		}
		if left -= taken; taken == 0 {
			return nil // others have delivered it
		}
	}
	return nil
}

// Close hands on what is in the buffer, for five seconds at most, or ten where next hangs, and says how many records are lost if it cannot. Later
// writes fail.
func (s *BufferSink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		return fmt.Errorf("audit: %d records of the buffer are lost: %w", s.Waiting(), err)
	}
	return nil
}
