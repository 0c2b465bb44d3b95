package sqlaudit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// A commit costs a write to the disk that has to be waited for, whatever is in it. So what comes while one is under way
// waits, and goes into the next one together.

// most is how many records of different writes share a commit.
const most = 256

// A job is a batch that waits for its commit.
type job struct {
	ctx     context.Context
	entries []entry
	done    chan struct{} // closed once err is the answer
	err     error
}

func (j *job) answer(err error) {
	j.err = err
	close(j.done)
}

// submit puts a job in the queue, and sees to it that somebody works on it.
func (s *Sink) submit(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, j)
	if !s.busy {
		s.busy = true
		go s.serve()
	}
}

// giveUp takes a job out of the queue. It is false where the job is being written or has been.
func (s *Sink) giveUp(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.waiting, j)
	if at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	}
	return at >= 0
}

// serve commits until nothing waits.
func (s *Sink) serve() {
	for {
		jobs := s.take()
		if len(jobs) == 0 {
			return
		}
		s.commit(jobs)
	}
}

// take are the jobs of the next commit: the first that waits, and those behind it that there is room for.
func (s *Sink) take() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, records := 0, 0
	for n < len(s.waiting) && (n == 0 || records+len(s.waiting[n].entries) <= most) {
		records += len(s.waiting[n].entries)
		n++
	}
	jobs := slices.Clone(s.waiting[:n])
	s.waiting = slices.Delete(s.waiting, 0, n)
	s.busy = n > 0
	return jobs
}

// commit writes jobs in one transaction and answers each. Where that fails, each is written by itself, so that one which the
// database does not take fails alone; all of it is safe to write again, whatever became of the first attempt.
func (s *Sink) commit(jobs []*job) {
	err := s.write(jobs)
	if err == nil || len(jobs) == 1 {
		for _, j := range jobs {
			j.answer(err)
		}
		return
	}
	broken := false
	for _, j := range jobs {
		if !broken {
			err = s.write([]*job{j})
			broken = err != nil && s.dialect == PostgreSQL && !theRecords(err) // the next would fare no better
		}
		j.answer(err)
	}
}

// write writes jobs in one transaction, and gives up when all who wait for it have.
func (s *Sink) write(jobs []*job) (err error) {
	defer func() {
		if recover() != nil { // of the driver, which here no caller could contain; its value could hold anything
			err = errors.New("sqlaudit: the database's driver panicked")
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var left atomic.Int64
	left.Store(int64(len(jobs)))
	var all []entry
	for _, j := range jobs {
		all = append(all, j.entries...)
		defer context.AfterFunc(j.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	return s.within(ctx, func(tx *transaction) error { return put(ctx, tx, all) })
}

// within does something in a transaction, and again where the database says that another was in its way.
func (s *Sink) within(ctx context.Context, do func(*transaction) error) error {
	for try := 0; ; try++ {
		err := s.once(ctx, do)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || try == mostTries || !inTheWay(err) {
			return fmt.Errorf("sqlaudit: %w", err)
		}
	}
}

// inTheWay reports whether a transaction failed because of another. What SQLite's drivers say has but the text in common.
func inTheWay(err error) bool {
	code := stateOf(err)
	return code == "40001" || code == "40P01" || strings.Contains(err.Error(), "database is locked")
}

// mostTries is how often a transaction that was in another's way is begun again.
const mostTries = 20

func (s *Sink) once(ctx context.Context, do func(*transaction) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	err = s.transact(ctx, conn, do)
	_ = conn.Close() // not deferred: where a driver has panicked, database/sql still holds its locks, and waits for them for good
	return err
}

func (s *Sink) transact(ctx context.Context, conn *sql.Conn, do func(*transaction) error) error {
	if s.dialect == SQLite {
		if err := s.durable(ctx, conn); err != nil {
			return err
		}
	}
	begun, err := conn.BeginTx(ctx, s.isolation())
	if err != nil {
		return err
	}
	tx := &transaction{begun, s.dialect}
	if s.dialect == PostgreSQL && !s.o.InsecureNoSync {
		_, err = tx.ExecContext(ctx, "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'")
	}
	if err == nil {
		err = do(tx)
	}
	if err != nil {
		_ = begun.Rollback() // it fails where the connection has gone, and the transaction with it
		return err
	}
	if err := begun.Commit(); err != nil {
		return fmt.Errorf("the commit failed, and may yet be found to stand: %w", err)
	}
	return nil
}

// isolation is what the locks of derive are made for: each statement sees what was committed before it.
func (s *Sink) isolation() *sql.TxOptions {
	if s.dialect == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}

// stateOf is the SQLSTATE of an error, as the drivers of PostgreSQL tell it, or "".
func stateOf(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// theRecords reports whether an error of PostgreSQL is about what was to be written and not about the database. Drivers of
// SQLite have no common way to tell, and a file that cannot be written says so at once.
func theRecords(err error) bool {
	var amount *amountError
	state := stateOf(err)
	return errors.Is(err, ErrConflict) || errors.As(err, &amount) ||
		slices.ContainsFunc([]string{"22", "23", "54"}, func(class string) bool { return strings.HasPrefix(state, class) })
}
