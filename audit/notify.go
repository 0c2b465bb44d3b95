package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A Notifier tells people of events. Notify is called for one event at a time; when it returns nil the event has been
// told and is not given again, on error it is, until it is nil. The same event may be given more than once, in this process
// and in others, always with the same ID: whoever must not be told twice remembers the ids. The context has a deadline,
// which Notify should keep; where it does not, or panics, the event counts as not told.
type Notifier interface {
	Notify(ctx context.Context, e Event) error
}

// An EventKind says what happened.
type EventKind string

// The kinds.
const (
	// BudgetThreshold: a budget has used a share of its limit that its policy names. Once for each budget, window and share.
	BudgetThreshold EventKind = "budget_threshold"

	// FirstDenial: a run was refused a call for the first time. Once for each run.
	FirstDenial EventKind = "first_denial"

	// StillInDoubt: nobody has found out for a long time what became of a call. Once for each reservation.
	StillInDoubt EventKind = "in_doubt"

	// Overrun: a vendor has taken more than the bound that was held; it is booked in full. Once for each reservation.
	Overrun EventKind = "overrun"

	// KeyFrozen: an overrun has frozen a vault key, whose calls are refused until it is resumed. Once for each time.
	KeyFrozen EventKind = "key_frozen"

	// SinkTrouble: the audit sink did not take a record, or holds records that it could not deliver yet. Once an hour.
	SinkTrouble EventKind = "sink_trouble"
)

// An Event is something that a person should hear of. It is a struct of vetted fields like a [Record]: no body, no
// credential and no vault key ever stands in one, and no text that an agent or a vendor wrote but the names of a grant.
// Amounts are micro-units of a currency's major unit, or counts (package cost); times are UTC.
type Event struct {
	Version int       `json:"v"`  // of this schema: 1
	ID      string    `json:"id"` // the same whenever and by whomever the event is told: "ev_" and letters and digits
	Kind    EventKind `json:"kind"`
	Time    time.Time `json:"time"` // when it happened, by the ledger's clock
	Text    string    `json:"text"` // one sentence for people, made of what follows

	Tenant string `json:"tenant,omitempty"` // empty: it is no tenant's
	Agent  string `json:"agent,omitempty"`
	Run    string `json:"run,omitempty"`
	Key    string `json:"key,omitempty"` // the vault key's id, never its token

	CallID    string      `json:"call,omitempty"` // of the call that it is about: its records', and its reservation's in the ledger
	Operation string      `json:"operation,omitempty"`
	Reason    reason.Code `json:"reason,omitempty"`  // of a first denial
	Budget    *Budget     `json:"budget,omitempty"`  // as it stood when it was crossed, when it refused, or once it was overrun
	Percent   int         `json:"percent,omitempty"` // of a threshold, in percent of the budget's limit
	Excess    *cost.Line  `json:"excess,omitempty"`  // of an overrun: what was booked above what was held in the budget
	Held      []cost.Line `json:"held,omitempty"`    // of a call in doubt: what counts until somebody finds out
	Since     time.Time   `json:"since,omitzero"`    // of a call in doubt: when its time was over
	Waiting   int64       `json:"waiting,omitempty"` // of sink trouble: the records that wait to be delivered, where that is known
}

// ErrNotNotified says that a notifier panicked, or ended its goroutine, instead of answering.
var ErrNotNotified = errors.New("audit: the notifier did not return")

// Notify gives e to n and is what callers of a Notifier use: a panic of n comes back as an error, and a hang ends with
// ctx. A notifier that hangs and ignores ctx keeps its goroutine until it returns; done, where it is not nil, is called
// then, so that the caller can bound how many of them there are.
func Notify(ctx context.Context, n Notifier, e Event, done func()) error {
	result := make(chan error, 1)
	go func() {
		err := ErrNotNotified
		defer func() {
			if fault, ok := recover().(runtime.Error); ok { // another panic's value could hold anything, and errors reach logs
				err = fmt.Errorf("%w: %w", err, fault)
			}
			result <- err
			if done != nil {
				done()
			}
		}()
		err = n.Notify(ctx, e)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("audit: the notifier did not answer in time: %w", context.Cause(ctx))
	}
}

// NotifySlog returns a notifier that writes each event to l's handler as one entry: at level Error for an overrun, a frozen
// key and sink trouble, at Warn otherwise. Nil l is slog.Default at the time of each event. The attributes are flat and
// named as in the JSON form, and amounts are for people ("20.00 USD"). Characters that a terminal would act upon are escaped.
// A handler that is not enabled for the level would drop the event, so Notify fails instead.
func NotifySlog(l *slog.Logger) Notifier { return notifyLog{logged{l}} }

type notifyLog struct{ logged }

func (n notifyLog) Notify(ctx context.Context, e Event) error {
	h, level := n.handler(), e.level()
	if !h.Enabled(ctx, level) {
		return fmt.Errorf("audit: the logger drops entries of level %s, so the event would be lost", level)
	}
	entry := slog.NewRecord(e.Time, level, "keybrake: "+clean(e.Text), 0)
	entry.AddAttrs(e.attrs()...)
	if err := h.Handle(ctx, entry); err != nil {
		return fmt.Errorf("audit: logging an event: %w", err)
	}
	return nil
}

func (e Event) level() slog.Level {
	switch e.Kind {
	case Overrun, KeyFrozen, SinkTrouble:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// attrs are the event's fields that are set, in the order of the struct. The text is the entry's message.
func (e Event) attrs() []slog.Attr {
	var a attrs
	a.number("v", int64(e.Version))
	a.text("id", e.ID)
	a.text("kind", string(e.Kind))
	a.text("tenant", e.Tenant)
	a.text("agent", e.Agent)
	a.text("run", e.Run)
	a.text("key", e.Key)
	a.text("call", e.CallID)
	a.text("operation", e.Operation)
	a.text("reason", string(e.Reason))
	if e.Budget != nil {
		a.text("budget", e.Budget.String())
	}
	a.number("percent", int64(e.Percent))
	if e.Excess != nil {
		a.text("excess", lineText(*e.Excess))
	}
	a.text("held", each(e.Held, lineText)...)
	a.time("since", e.Since)
	a.number("waiting", e.Waiting)
	return a
}
