package story_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// An answer is all that a caller can tell of what a verb did, as text: equal answers are equal texts. Left out is only
// what the contract leaves open.

// class is what a caller can tell of an error.
func class(err error) string {
	var d *ledger.Denied
	if err == nil {
		return "ok"
	}
	if errors.As(err, &d) {
		return fmt.Sprintf("denied %s %q %s", d.Code, d.Name, shortfalls(d.Shortfalls))
	}
	for _, known := range []error{ledger.ErrNoBudget, ledger.ErrBudgetFixed, ledger.ErrNoHold, ledger.ErrNoKey, ledger.ErrSettled, ledger.ErrOpen, ledger.ErrAdjusted} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "another error"
}

// micros is a time as ledgers keep it; 0 is none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func state(s ledger.State) string {
	return fmt.Sprintf("%q shared=%t of=%q observed=%t %s %s limit %d %s %q operations %q alerts %d spent %d held %d start %d reset %d",
		s.Name, s.Shared, s.Of, s.Observed, s.Meter, s.Currency, s.Limit, s.Window, s.Zone, s.Operations, s.AlertAt,
		s.Spent, s.Held, micros(s.Start), micros(s.Reset))
}

func states(list []ledger.State) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString("\n      " + state(s))
	}
	return b.String()
}

func shortfalls(list []ledger.Shortfall) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "\n      needs %d: %s", s.Need, state(s.State))
	}
	return b.String()
}

// record is a hold as InDoubt, Unsettled and Find give it, which need not tell the rest.
func record(h ledger.Hold) string {
	return fmt.Sprintf("%q %q nonce %q key %q %s object %q %s until %d controls %q attached %t retry %d memo %q entries %+v",
		h.Tenant, h.ID, h.Nonce, h.Key, h.Operation, h.Object, h.Phase, h.Deadline.UnixMicro(), h.Controls, h.Attached, micros(h.RetryUntil), h.Memo, h.Entries)
}

// found adds what Find tells alone.
func found(h ledger.Hold) string {
	var b strings.Builder
	b.WriteString(record(h))
	for _, a := range h.Adjustments {
		fmt.Fprintf(&b, "\n      adjusted %q %v %q at %d by %d", a.ID, a.Actual, a.Reason, micros(a.At), a.Deltas)
	}
	return b.String()
}

// admitted is a hold as Reserve and Raise give it.
func admitted(h ledger.Hold, err error) string {
	if err != nil {
		return class(err)
	}
	return record(h) + "\n    would refuse" + shortfalls(h.Would) + "\n    stands" + states(h.States)
}

// receipt is what Settle and Adjust tell. For how long a window that is over is remembered where nothing is held in it
// is the ledger's own, so a state is told only where it is not over, or something was held there until now.
func receipt(r ledger.Receipt, err error, tells func(i int) bool) string {
	var list []ledger.State
	for i, s := range r.States {
		if tells(i) {
			list = append(list, s)
		}
	}
	return fmt.Sprintf("%s over %t strays %v of %d%s", class(err), r.Over, r.Strays, len(r.States), states(list))
}

func alert(a ledger.Alert) string {
	return fmt.Sprintf("%s %d%% of key %q hold %q by %d at %d: %s", a.Kind, a.Percent, a.Key, a.Hold, a.Excess, micros(a.At), state(a.State))
}

// oldestFirst are holds as text. Of those with one deadline none is the older.
func oldestFirst(list []ledger.Hold) (string, error) {
	if !slices.IsSortedFunc(list, func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) }) {
		return "", errors.New("not oldest first")
	}
	var out []string
	for _, h := range list {
		out = append(out, fmt.Sprintf("%020d %s", h.Deadline.UnixMicro(), record(h)))
	}
	slices.Sort(out)
	return strings.Join(out, "\n    "), nil
}
