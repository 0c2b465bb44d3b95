package keybrake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/reason"
)

// A tally counts refusals that are like one on record, so that an agent in a loop costs a record every ten seconds
// and not one for each of its calls. The counts are exact: whatever the sink does, a refusal is in one record that was
// taken, or in a count that still waits to be.
//
// What it keeps is bounded, whatever an agent sends. A run that is refused for more reasons than can be told apart is
// counted by reason alone, and so is everything once too many runs are; nobody's count is thrown out for another's.
type tally struct {
	brake *Brake
	turn  chan struct{} // held by the one flush that is under way

	mu     sync.Mutex
	rows   map[likeness]*row
	told   map[[2]string]int // rows of one tenant and run that are told apart
	timer  *time.Timer       // of the next flush; nil while there are no rows
	closed bool              // every refusal is recorded by itself
}

const (
	tallySpan  = 10 * time.Second // how long refusals are counted before their record
	mostOfARun = 64               // likenesses that are told apart within a run
	mostRows   = 4096             // and over all
)

// A likeness is what refusals have in common that are counted together. Its texts are short and its own.
type likeness struct {
	tenant, run, key        string
	vendor, operation, tool string
	reason                  reason.Code
	rule                    int
	param, budget, flag     string
	of                      breadth
}

// A breadth says whose refusals a likeness is of.
type breadth int

const (
	ofKind breadth = iota // all of the likeness is set
	ofRun
	ofAll
)

func (a *attempt) likeness(d *Denial) likeness {
	l := likeness{reason: d.Reason, rule: -1, tool: clip(callFrom(a.ctx).Tool), param: clip(d.Param), budget: d.Budget}
	if c := a.claims; c != nil {
		l.tenant, l.run, l.key = c.Tenant, c.Run, c.name()
	}
	if a.vendor != nil {
		l.vendor = a.vendor.Name
	}
	if row := a.call.Operation; row != nil {
		l.operation = row.Name
	}
	if len(a.decision.Reasons) > 0 {
		l.rule = a.decision.Reasons[0].Rule
	}
	if len(a.flags) > 0 {
		l.flag = clip(a.flags[0])
	}
	return l
}

// inRun is what remains of l where a run has too many kinds.
func (l likeness) inRun() likeness {
	return likeness{tenant: l.tenant, run: l.run, reason: l.reason, of: ofRun}
}

// inAll is what remains where there are too many runs. The reasons of the table alone are told apart there.
func (l likeness) inAll() likeness {
	entry, known := reason.Lookup(l.reason)
	if !known {
		entry.Code = ""
	}
	return likeness{reason: entry.Code, of: ofAll}
}

// common is r, the first refusal of l, without what is that call's alone.
func (l likeness) common(r audit.Record) audit.Record {
	c := audit.Record{Kind: r.Kind, Verdict: r.Verdict, Reason: l.reason}
	switch l.of {
	case ofKind:
		c = r
		c.ID, c.Step, c.Objects, c.Recipients, c.Idempotency, c.Budgets = "", "", nil, nil, "", nil
		c.Duration, c.LedgerDuration, c.VendorDuration = 0, 0, 0
	case ofRun:
		c.Tenant, c.Agent, c.Run, c.Detail = r.Tenant, r.Agent, r.Run, "refusals of the run, of too many kinds to tell them apart"
	case ofAll:
		c.Detail = "refusals of many runs, too many to tell them apart"
	}
	return c
}

// A row counts the refusals of one likeness since its last record.
type row struct {
	like        audit.Record // what the record of a count says
	count       int64
	first, last time.Time
	unsent      *audit.Record // has its id; written again until the sink takes it
	busy        bool          // unsent is being written
}

func newTally(b *Brake) *tally {
	return &tally{brake: b, turn: make(chan struct{}, 1), rows: map[likeness]*row{}, told: map[[2]string]int{}}
}

// add counts a refusal, or records it if it is the first of its likeness, as build says it. Then alone it waits for
// the sink, once; a record that the sink does not take is kept and given to it again. It reports whether a record of the
// likeness was given to the sink before it returned, and none is being given now.
func (t *tally) add(ctx context.Context, l likeness, build func() audit.Record) (recorded bool) {
	now := time.Now().UTC()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.brake.try(ctx, build())
		return true
	}
	l = t.room(l)
	if r := t.rows[l]; r != nil {
		if r.count == 0 {
			r.first = now
		}
		r.count, r.last = r.count+1, now
		recorded = !r.busy
		t.mu.Unlock()
		return recorded
	}
	first := entered(build())
	r := &row{like: l.common(first), unsent: &first, busy: true}
	t.rows[l] = r
	t.told[l.group()]++
	if t.timer == nil {
		t.timer = time.AfterFunc(tallySpan, t.flushInTime)
	}
	t.mu.Unlock()
	if err := t.deliver(context.WithoutCancel(ctx), r); err != nil {
		t.brake.log().ErrorContext(ctx, "keybrake: the audit sink did not take the record of a refusal; it will be given it again", "call", first.CallID, "reason", string(first.Reason), "error", err)
	}
	t.mu.Lock()
	closed := t.closed
	t.mu.Unlock()
	if closed { // while this was written, and nobody else will write what was counted meanwhile
		_ = t.flush(context.WithoutCancel(ctx))
	}
	return true
}

// room is l, or what there is room for in its place.
func (t *tally) room(l likeness) likeness {
	switch {
	case t.rows[l] != nil, t.told[l.group()] < mostOfARun && len(t.rows) < mostRows:
		return l
	case t.rows[l.inRun()] != nil, len(t.rows) < mostRows:
		return l.inRun()
	}
	return l.inAll()
}

func (l likeness) group() [2]string { return [2]string{l.tenant, l.run} }

// deliver writes a row's record. Whoever calls it has marked the row as busy.
func (t *tally) deliver(ctx context.Context, r *row) error {
	err := t.brake.put(ctx, *r.unsent)
	t.mu.Lock()
	defer t.mu.Unlock()
	r.busy = false
	if err == nil {
		r.unsent = nil
	}
	return err
}

// take marks the row of l as busy if it has something to write, else it takes it out of the table.
func (t *tally) take(l likeness) *row {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rows[l]
	switch {
	case r == nil || r.busy:
		return nil
	case r.unsent == nil && r.count == 0:
		delete(t.rows, l)
		if t.told[l.group()]--; t.told[l.group()] == 0 {
			delete(t.told, l.group())
		}
		return nil
	case r.unsent == nil:
		sum := entered(r.like)
		sum.Count, sum.First, sum.Last = r.count, r.first, r.last
		r.unsent, r.count = &sum, 0
	}
	r.busy = true
	return r
}

// flush writes what was counted. An error says that some of it was not taken; it is counted on.
func (t *tally) flush(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.mu.Lock()
	rows := slices.Collect(maps.Keys(t.rows))
	t.mu.Unlock()
	var failed error
	for _, l := range rows {
		for range 2 { // a record that was not taken before, and the count since
			r := t.take(l)
			if r == nil {
				break
			}
			if err := t.deliver(ctx, r); err != nil {
				failed = err
				break
			}
		}
		if ctx.Err() != nil || errors.Is(failed, context.DeadlineExceeded) {
			break // a sink that hangs is waited for once
		}
	}
	return failed
}

// flushInTime is the flush at the end of a span. The next one comes a span after its end, so that there is never more
// than one.
func (t *tally) flushInTime() {
	ctx, cancel := context.WithTimeout(context.Background(), tallySpan)
	defer cancel()
	if err := t.flush(ctx); err != nil {
		t.brake.log().ErrorContext(ctx, "keybrake: the audit sink did not take the records of refusals; they are counted on", "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer = nil; len(t.rows) > 0 && !t.closed {
		t.timer = time.AfterFunc(tallySpan, t.flushInTime)
	}
}

// close writes what was counted, and from then on every refusal by itself.
func (t *tally) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	if err := t.flush(ctx); err != nil {
		return fmt.Errorf("the audit sink did not take the records of all refusals: %w", err)
	}
	return nil
}
