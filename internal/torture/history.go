package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/keybrake/keybrake-go/reason"
)

// A History is what was asked of a ledger for one tenant, and what it answered when.
type History struct {
	Tenant string

	// Retried says that a client may have sent a verb more than once. Then an answer may be that of the second time,
	// in which the amounts are those of later.
	Retried bool

	// Wait is how long a client waits for a reply before it sends again; zero where none does.
	Wait time.Duration

	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func newHistory(tenant string, wait time.Duration) *History {
	return &History{Tenant: tenant, Retried: wait > 0, Wait: wait, began: time.Now()}
}

// lateDuplicates says that a reserve which was refused may be carried out after all. go-redis sends again what had no
// answer in time: the second request is refused, and the first, which was only slow, arrives when there is room. What
// it holds is nobody's, and counts until a person releases it: safe, and against the contract ("nothing was changed in
// the store"). To be false once a ledger makes sure that no earlier request of a refused reserve is still on its way.
const lateDuplicates = true

// do asks do, which is a ledger in this process or another, and keeps the answer.
func (h *History) do(client int, op Op, do func(Op) Answer) Answer {
	call := h.now()
	a := do(op)
	o := porcupine.Operation{ClientId: client, Input: op, Call: call, Output: a, Return: h.now()}
	if a.Verdict == Unknown && (op.Verb == Balance || op.Verb == Doubt) {
		return a // changes nothing that the model knows of
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Verdict == Unknown {
		o.Return = math.MaxInt64 // carried out at any time from now on, or never
	}
	h.ops = append(h.ops, o)
	if lateDuplicates && h.Retried && op.Verb == Reserve && refused(a) && o.Return-o.Call >= int64(h.Wait) {
		o.Output, o.Return = Answer{Verdict: Unknown, Err: "sent twice?"}, math.MaxInt64
		h.ops = append(h.ops, o)
	}
	return a
}

// now is the time in the history.
func (h *History) now() int64 { return int64(time.Since(h.began)) }

// cut makes everything unknown that had not returned by then: a store that has lost something lost it then.
func (h *History) cut(at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = slices.DeleteFunc(h.ops, func(o porcupine.Operation) bool {
		v := o.Input.(Op).Verb
		return o.Return > at && (v == Balance || v == Doubt)
	})
	for i := range h.ops {
		if o := &h.ops[i]; o.Return > at {
			o.Output, o.Return = Answer{Verdict: Unknown, Err: "after the loss"}, math.MaxInt64
		}
	}
}

// closed leaves out the refusals of the client that say that something is missing: a ledger may always refuse.
func (h *History) closed(client int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = slices.DeleteFunc(h.ops, func(o porcupine.Operation) bool {
		switch reason.Code(o.Output.(Answer).Verdict) {
		case reason.KeyUnknown, reason.BudgetMissing, reason.LedgerFrozen:
			return o.ClientId == client
		}
		return false
	})
}

// admitted are the reserves that were, in order of their calls.
func (h *History) admitted() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Op
	for _, o := range h.ops {
		if op := o.Input.(Op); op.Verb == Reserve && o.Output.(Answer).Verdict == OK {
			out = append(out, op)
		}
	}
	return out
}

// refused reports a refusal that need not last.
func refused(a Answer) bool {
	switch reason.Code(a.Verdict) {
	case reason.BudgetExceeded, reason.KeyPaused, reason.KeyFrozen:
		return true
	}
	return false
}

// size is how many operations there are.
func (h *History) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// check looks for an order of the operations, each between its call and its return, in which every answer is the
// one that [Books] give. It returns what is wrong, and false when the search took too long to say.
func (h *History) check(patience time.Duration) (wrong string, done bool) {
	model := h.model()
	result, info := porcupine.CheckOperationsVerbose(model, h.ops, patience)
	switch result {
	case porcupine.Ok:
		return "", true
	case porcupine.Unknown:
		return "", false
	}
	return h.explain(model, info), true
}

func (h *History) model() porcupine.Model {
	most := 0
	for _, o := range h.ops {
		most = max(most, o.Input.(Op).Number+1)
	}
	return porcupine.Model{
		Init: func() any { return newBooks(most) },
		Step: func(state, in, out any) (bool, any) {
			want, next := state.(Books).Do(in.(Op))
			got := out.(Answer)
			return got.Verdict == Unknown || h.agree(in.(Op), got, want), next
		},
		Equal:             func(a, b any) bool { return a.(Books).equal(b.(Books)) },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v → %v", in, out) },
		DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
	}
}

// agree compares an answer with what it has to be.
func (h *History) agree(op Op, got, want Answer) bool {
	if h.Retried && op.Verb == Release && got.Verdict == WasOther && want.Verdict == OK {
		return true // given back by the first request, settled by another client, and found so by the second request
	}
	if got.Verdict != want.Verdict {
		return false
	}
	if h.Retried && op.Verb != Balance && (got.Verdict == OK || got.Verdict == WasOther) {
		return true
	}
	return got.Over == want.Over && slices.Equal(got.Amounts, want.Amounts)
}

// explain shows the longest order that was found and what could not follow it.
func (h *History) explain(model porcupine.Model, info porcupine.LinearizationInfo) string {
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no order of the %d operations of %s explains their answers; the longest found has %d, and ends:\n", len(h.ops), h.Tenant, len(longest))
	state := model.Init()
	for i, n := range longest {
		o := h.ops[n]
		_, state = model.Step(state, o.Input, o.Output)
		if i >= len(longest)-12 {
			fmt.Fprintf(&b, "  %s\n", line(o))
		}
	}
	fmt.Fprintf(&b, "  books then: %+v\n  what is left, by call:\n", state)
	left := 0
	for n, o := range h.ops {
		if !slices.Contains(longest, n) && o.Return != math.MaxInt64 {
			if left++; left <= 12 {
				want, _ := state.(Books).Do(o.Input.(Op))
				fmt.Fprintf(&b, "  %s; the books say %v\n", line(o), want)
			}
		}
	}
	return b.String()
}

// write puts the history into a file and returns its name.
func (h *History) write() string {
	f, err := os.CreateTemp("", "torture-*.history")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	all := slices.Clone(h.ops)
	slices.SortFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, o := range all {
		fmt.Fprintln(f, line(o))
	}
	return f.Name()
}

func line(o porcupine.Operation) string {
	end := "…"
	if o.Return != math.MaxInt64 {
		end = time.Duration(o.Return).Round(time.Microsecond).String()
	}
	return fmt.Sprintf("%v–%s client %d: %v → %v", time.Duration(o.Call).Round(time.Microsecond), end, o.ClientId, o.Input, o.Output)
}

// highest is the highest limit that the team may have had.
func (h *History) highest() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := int64(teamLimit)
	for _, o := range h.ops {
		if op := o.Input.(Op); op.Verb == SetBudget {
			most = max(most, op.Limit)
		}
	}
	return most
}
