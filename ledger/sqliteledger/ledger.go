package sqliteledger

import (
	"context"
	"errors"
	"time"
)

// Options are the choices that have a default.
type Options struct {
	// Timeout bounds every verb, on top of its context: how long it waits for the write lock, which another
	// process may hold, and for the disk. Opening the file is bounded by the context alone. Default: five seconds.
	Timeout time.Duration

	// Now replaces the machine's clock, for tests. Default: [time.Now].
	Now func() time.Time
}

// A Ledger is a [github.com/keybrake/keybrake-go/ledger.Ledger] in a file. It is safe for concurrent use.
type Ledger struct {
	path    string
	timeout time.Duration
	now     func() time.Time

	turn chan struct{} // holds a token while someone looks at file or opens it; a wait for it ends with a context
	file *file         // nil until the first use
	life context.Context
	end  context.CancelCauseFunc // by Close: no use after it
}

// New returns the ledger in the file at path. It does no I/O: the file is opened, or made, by Check or by the
// first verb. nil options are the defaults.
func New(path string, o *Options) *Ledger {
	if o == nil {
		o = &Options{}
	}
	l := &Ledger{path: path, timeout: o.Timeout, now: o.Now, turn: make(chan struct{}, 1)}
	l.life, l.end = context.WithCancelCause(context.Background())
	if l.timeout <= 0 {
		l.timeout = 5 * time.Second
	}
	if l.now == nil {
		l.now = time.Now
	}
	return l
}

// Check opens the file, or makes it, and reports why it is not fit to hold the books, if it is not: it is
// damaged, not a ledger, of a newer version, not this user's alone, on a network file system, or it cannot be
// written. The first Check or verb reads the file to look for damage; see the package documentation for how much
// of it.
func (l *Ledger) Check(ctx context.Context) error {
	_, err := change(ctx, l, "", func(*books) (struct{}, error) { return struct{}{}, nil })
	return err
}

// Close ends the ledger: a commit that has begun is waited for, verbs that have not begun are refused, and so is
// every later one. No goroutine of the ledger is left when it returns. Closing again does nothing. What is on
// disk is complete without Close, too.
func (l *Ledger) Close() error {
	l.end(errClosed) // ends an opening that is under way
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	f := l.file
	if f == nil {
		return nil
	}
	l.file = nil
	return f.close()
}

var errClosed = errors.New("sqliteledger: the ledger is closed; not carried out")

// opened returns the open file. An attempt that has failed is made again at the next use.
func (l *Ledger) opened(ctx context.Context) (*file, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, late(ctx)
	}
	if l.life.Err() != nil {
		return nil, errClosed
	}
	if l.file != nil {
		return l.file, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.life, func() { cancel(errClosed) })()
	f, err := open(ctx, l.path, l.now)
	if err != nil {
		return nil, err
	}
	l.file = f
	return f, nil
}

// change carries out a verb that may write: in the writer's next transaction, all of it or nothing. When do
// returns an error, nothing of it stays. When change returns one that is not do's, the verb may have been carried
// out unless the error says otherwise.
func change[T any](ctx context.Context, l *Ledger, tenant string, do func(*books) (T, error)) (T, error) {
	var out, none T
	f, err := l.opened(ctx)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err = f.submit(ctx, tenant, func(b *books) (err error) {
		out, err = do(b)
		return err
	})
	if err != nil {
		return none, err // out is not looked at: the writer may still be at it
	}
	return out, nil
}

// view carries out a verb that only reads, on what is committed. It waits for no writer.
func view[T any](ctx context.Context, l *Ledger, tenant string, do func(*books) (T, error)) (T, error) {
	var out, none T
	f, err := l.opened(ctx)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err = f.look(ctx, tenant, func(b *books) (err error) {
		out, err = do(b)
		return err
	})
	if err != nil {
		return none, err
	}
	return out, nil
}
