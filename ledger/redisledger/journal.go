package redisledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger"
)

// What became of a call is known once, and Redis may be away in that moment. So a Settle or Release that does not
// reach it is kept here and said again in the background until Redis answers, whatever it answers: both verbs are
// idempotent, and the hold stands meanwhile. With a path it is on disk before the caller is told so.

// journalSize is how many outcomes are kept.
const journalSize = 1 << 16

// An entry is one outcome that has to be booked.
type entry struct {
	Number int64              `json:"number"` // in this file
	Time   int64              `json:"time"`   // Unix microseconds
	Hold   ledger.Hold        `json:"hold"`
	Settle *ledger.Settlement `json:"settle,omitempty"` // nil: a release
	Unsent bool               `json:"unsent,omitempty"`

	bytes int64 // of its line
}

// of is whose outcome it is.
func (e *entry) of() string { return e.Hold.Tenant + "\x00" + e.Hold.ID }

// A journal is the outcomes that wait, oldest first. mu guards all of it; Redis is never asked under it.
type journal struct {
	path string

	mu      sync.Mutex
	file    *journalFile // nil until it is needed
	queue   []*entry
	waiting map[string]int // of() → how many
	last    int64          // number of the newest entry
	running bool           // what waits is being said again

	// What runs in the background, of the journal and else, ends with ctx.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	closed bool
}

// errFull is a reason not to keep an outcome.
var errFull = fmt.Errorf("redisledger: %d outcomes wait for Redis already; this one is not kept", journalSize)

// orLater says one outcome, after those of the same reservation that wait, and keeps it when Redis is not reached.
func (l *Ledger) orLater(ctx context.Context, e entry, say func() error) error {
	err := l.earlier(ctx, e.of())
	if err == nil {
		err = say()
	}
	if !unreached(err) {
		return err
	}
	e.Time = l.estimate().UnixMicro()
	if why := l.journal.keep(&e); why != nil {
		return errors.Join(err, why)
	}
	l.retry()
	return fmt.Errorf("%w: %w", ledger.ErrDeferred, err)
}

// missingBudget is what close.lua says of a shared budget.
const missingBudget = "keybrake: the row of a shared budget is missing"

// unreached says that err leaves open what became of a verb, and that saying it again may help. What a script has
// refused stays refused; what Redis, or something on the way to it, refuses before it runs one (READONLY, LOADING, OOM,
// NOAUTH, ERR max number of clients reached, …) passes.
func unreached(err error) bool {
	var far *farError
	var answer redis.Error
	switch {
	case !errors.As(err, &far), errors.Is(err, errReply):
		return false
	case errors.As(err, &answer) && strings.Contains(answer.Error(), missingBudget):
		return true // a re-arm puts it back
	case errors.As(err, &answer):
		for _, kind := range []string{"WRONGTYPE ", "CROSSSLOT "} {
			if strings.HasPrefix(answer.Error(), kind) {
				return false
			}
		}
		return !strings.Contains(answer.Error(), "keybrake:") && !strings.Contains(answer.Error(), "user_script:")
	}
	return true
}

// earlier says what waits of one reservation, so that its outcomes are booked in their order.
func (l *Ledger) earlier(ctx context.Context, of string) error {
	for _, e := range l.journal.entries(of) {
		if err := l.say(ctx, e); unreached(err) {
			return err
		}
		l.journal.done(e)
	}
	return nil
}

func (l *Ledger) say(ctx context.Context, e *entry) error {
	if e.Settle == nil {
		return l.release(ctx, e.Hold, e.Unsent)
	}
	// A hold that was lost is put back from the entry, unless the store could have forgotten it by right.
	recent := l.estimate().Before(time.UnixMicro(e.Time).Add(keepPlain - time.Hour))
	_, err := l.settle(ctx, e.Hold, *e.Settle, recent)
	return err
}

// The pauses between two rounds in which Redis was not reached.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// retry sees to it that what waits is said again. It starts a goroutine, unless there is one, which ends when
// nothing waits any more.
func (l *Ledger) retry() {
	j := &l.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.running && len(j.queue) > 0 {
		j.running = j.begin(l.drain)
	}
}

// background does something unless the ledger is closed.
func (l *Ledger) background(do func(context.Context)) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	l.journal.begin(do)
}

// begin starts a goroutine. mu is held.
func (j *journal) begin(do func(context.Context)) bool {
	if j.closed {
		return false
	}
	if j.cancel == nil {
		j.ctx, j.cancel = context.WithCancel(context.Background())
	}
	j.work.Go(func() { do(j.ctx) })
	return true
}

func (l *Ledger) drain(ctx context.Context) {
	for pause := firstPause; ; {
		queue := l.journal.rest()
		if queue == nil {
			return
		}
		if l.round(ctx, queue) {
			pause = firstPause
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// round says what waits, once, and whether anything was booked. A tenant that is not reached is left for the next
// round: another's may lie on another node.
func (l *Ledger) round(ctx context.Context, queue []*entry) (booked bool) {
	away := map[string]bool{}
	for _, e := range queue {
		if away[e.Hold.Tenant] || ctx.Err() != nil {
			continue
		}
		if away[e.Hold.Tenant] = unreached(l.say(ctx, e)); !away[e.Hold.Tenant] {
			l.journal.done(e)
			booked = true
		}
	}
	return booked
}

// rest is what waits. When it is nothing, the goroutine that asks has ended.
func (j *journal) rest() []*entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 {
		j.running = false
		return nil
	}
	return slices.Clone(j.queue)
}

// entries are those of one reservation, oldest first.
func (j *journal) entries(of string) []*entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting[of] == 0 {
		return nil
	}
	var list []*entry
	for _, e := range j.queue {
		if e.of() == of {
			list = append(list, e)
		}
	}
	return list
}

// keep takes an outcome in, on disk first.
func (j *journal) keep(e *entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errors.New("redisledger: the ledger is closed; the outcome is not kept")
	}
	if err := j.open(); err != nil {
		return err
	}
	if len(j.queue) >= journalSize {
		return errFull
	}
	e.Number = j.last + 1
	if j.file != nil {
		n, err := j.file.add(line{Entry: e}, true)
		if err != nil {
			return err
		}
		e.bytes = n
	}
	j.take(e)
	return nil
}

func (j *journal) take(e *entry) {
	if j.waiting == nil {
		j.waiting = map[string]int{}
	}
	j.last = max(j.last, e.Number)
	j.queue = append(j.queue, e)
	j.waiting[e.of()]++
}

// done forgets an outcome that is booked, or refused for good. That the file says so may get lost with the power; then
// it is said once more, which changes nothing.
func (j *journal) done(e *entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.Index(j.queue, e)
	switch {
	case i < 0: // two have said it at the same time
		return
	case i == 0:
		j.queue = j.queue[1:]
	default:
		j.queue = slices.Delete(j.queue, i, i+1)
	}
	if j.waiting[e.of()]--; j.waiting[e.of()] == 0 {
		delete(j.waiting, e.of())
	}
	if j.file != nil && (j.file.finish(e) || len(j.queue) == 0) {
		j.file.rewrite(j.lines())
	}
}

// lines is all that the file has to say now.
func (j *journal) lines() []line {
	list := make([]line, len(j.queue))
	for i, e := range j.queue {
		list[i] = line{Entry: e}
	}
	return list
}

// open opens the file, if there is to be one, and takes in what an earlier process has left.
func (j *journal) open() error {
	if j.path == "" || j.file != nil {
		return nil
	}
	f, left, err := openJournal(j.path)
	if err != nil {
		return err
	}
	j.file = f
	for _, e := range left {
		j.take(e)
	}
	return nil
}

// replay begins to book what an earlier process has left.
func (l *Ledger) replay() error {
	l.journal.mu.Lock()
	err := errors.New("redisledger: the ledger is closed")
	if !l.journal.closed {
		err = l.journal.open()
	}
	l.journal.mu.Unlock()
	if err == nil {
		l.retry()
	}
	return err
}

// Deferred is how many outcomes wait for Redis.
func (l *Ledger) Deferred() int {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	return len(l.journal.queue)
}

// Close ends what the ledger does in the background and closes its journal, whose file stays for the next process.
// What waits in memory alone is lost; its holds stand, and become in doubt. The client stays open. The other methods may
// be used afterwards, but nothing is deferred any more.
func (l *Ledger) Close() error {
	j := &l.journal
	j.mu.Lock()
	j.closed = true
	if j.cancel != nil {
		j.cancel()
	}
	j.mu.Unlock()
	j.work.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.close()
	j.file = nil
	return err
}
