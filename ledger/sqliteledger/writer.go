package sqliteledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A commit costs a write to the disk that has to be waited for, whatever is in it. So one goroutine writes: it
// takes all the verbs that have come while the last commit was under way into one transaction, each in a savepoint
// of its own, and answers them when that is on disk.

// most is how many verbs share a commit: enough to make its cost small, and few enough that other processes get
// the write lock in between.
const most = 128

// pause is how long a process waits before it asks again for the write lock that another one holds. SQLite's own
// waiting grows to a tenth of a second, in which a busy neighbour commits fifty times.
const pause = time.Millisecond

// A job is a verb that waits for the writer.
type job struct {
	tenant string
	do     func(*books) error
	state  atomic.Int32
	done   chan struct{} // closed once err is the answer
	err    error
}

// The states of a job. Who takes it out of queued decides what becomes of it.
const (
	queued int32 = iota
	started
	abandoned
)

func (j *job) answer(err error) {
	j.err = err
	close(j.done)
}

// submit hands a verb to the writer and waits for its answer, but no longer than ctx.
func (f *file) submit(ctx context.Context, tenant string, do func(*books) error) error {
	j := &job{tenant: tenant, do: do, done: make(chan struct{})}
	if ctx.Err() != nil {
		return late(ctx)
	}
	select {
	case f.queue <- j:
	case <-ctx.Done():
		return late(ctx)
	case <-f.stopped:
		return errClosed
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, abandoned) {
			return late(ctx)
		}
	case <-f.stopped:
		if j.state.CompareAndSwap(queued, abandoned) {
			return errClosed
		}
	}
	select {
	case <-j.done:
		return j.err
	default:
		return fmt.Errorf("sqliteledger: no answer in time, and it may be carried out yet: %w", context.Cause(ctx))
	}
}

// late is the answer to a verb that was given up before it began.
func late(ctx context.Context) error {
	return fmt.Errorf("sqliteledger: not begun in time, and not carried out: %w", context.Cause(ctx))
}

// serve is the writer. It ends when the file is closed.
func (f *file) serve() {
	defer close(f.stopped)
	for {
		select {
		case <-f.closing:
			return
		case j := <-f.queue:
			f.batch(f.gather(j))
		}
	}
}

// gather takes what else is waiting.
func (f *file) gather(first *job) []*job {
	jobs := []*job{first}
	for len(jobs) < most {
		select {
		case j := <-f.queue:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// batch carries out jobs in one transaction, and answers each.
func (f *file) batch(jobs []*job) {
	jobs, err := f.begin(jobs)
	if err != nil {
		refuse(jobs, err)
		return
	}
	jobs = slices.DeleteFunc(jobs, func(j *job) bool { return !j.state.CompareAndSwap(queued, started) })
	if err := f.carryOut(jobs); err != nil {
		_ = f.write.run("ROLLBACK") // it fails where SQLite has rolled back itself
		refuse(jobs, err)
		return
	}
	// COMMIT returns when it is on disk: synchronous is FULL.
	if err := f.write.run("COMMIT"); err != nil {
		_ = f.write.run("ROLLBACK")
		for _, j := range jobs {
			j.answer(failure(fmt.Errorf("the commit failed, and may yet be found to stand: %w", err)))
		}
		return
	}
	for _, j := range jobs {
		close(j.done)
	}
}

// refuse answers jobs of which nothing stays.
func refuse(jobs []*job, err error) {
	for _, j := range jobs {
		j.answer(failure(fmt.Errorf("not carried out: %w", err)))
	}
}

// begin takes the write lock. It waits for it as long as someone waits for an answer; those who have given up
// are not among the jobs that it returns.
func (f *file) begin(jobs []*job) ([]*job, error) {
	for {
		if err := f.there(); err != nil {
			return jobs, err
		}
		err := f.write.run("BEGIN IMMEDIATE")
		if !busy(err) {
			return jobs, err
		}
		select {
		case <-f.closing:
			return jobs, errClosed
		case <-time.After(pause):
		}
		jobs = slices.DeleteFunc(jobs, func(j *job) bool { return j.state.Load() == abandoned })
		if len(jobs) == 0 {
			return nil, nil
		}
	}
}

// carryOut runs the jobs. An error means that none of them can be relied on.
func (f *file) carryOut(jobs []*job) error {
	for _, j := range jobs {
		if err := f.carry(j); err != nil {
			return err
		}
	}
	return f.forget()
}

// carry runs one job: all of it stays, or nothing. Its own error is its answer; the error returned is one that
// leaves the transaction in an unknown state.
func (f *file) carry(j *job) error {
	if err := f.write.run("SAVEPOINT verb"); err != nil {
		return err
	}
	b := &books{ctx: context.Background(), conn: f.write, tenant: j.tenant, now: f.now()}
	j.err = b.verdict(j.do(b))
	if j.err != nil {
		if err := f.write.run("ROLLBACK TO verb"); err != nil {
			return errors.Join(j.err, err)
		}
	}
	return f.write.run("RELEASE verb")
}

// look carries out a verb that only reads, in the goroutine of its caller. A read may be told to wait while
// another process starts or ends; then it is made again.
func (f *file) look(ctx context.Context, tenant string, do func(*books) error) error {
	for {
		err := f.lookOnce(ctx, tenant, do)
		if !busy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return late(ctx)
		case <-time.After(pause):
		}
	}
}

func (f *file) lookOnce(ctx context.Context, tenant string, do func(*books) error) error {
	select {
	case f.reading <- struct{}{}:
		defer func() { <-f.reading }()
	case <-ctx.Done():
		return late(ctx)
	case <-f.closing:
		return errClosed
	}
	select {
	case <-f.closing:
		return errClosed
	default:
	}
	if err := f.there(); err != nil {
		return failure(err)
	}
	if err := f.read.run("BEGIN"); err != nil {
		return failure(err)
	}
	b := &books{ctx: ctx, conn: f.read, tenant: tenant, now: f.now()}
	err := b.verdict(do(b))
	_ = f.read.run("ROLLBACK") // nothing was written; it fails where SQLite has rolled back itself
	return err
}
