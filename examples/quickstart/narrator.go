package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// A narrator is the audit sink of the show. It makes one line of the records of each call, and keeps count.
type narrator struct {
	mu     sync.Mutex
	out    io.Writer
	asJSON bool
	scene  string

	open  map[string]bool   // calls with an intent and, so far, nothing after it
	runs  map[string]*tally // what the trail says of each run
	kinds []kind            // of the lines of this scene, in their order
	lines map[kind]int      // how many there were of each
}

// A tally is what the trail says of a run.
type tally struct {
	calls, forwarded, denied int
	recorded                 int64           // spent, micro-USD
	doubts                   map[string]bool // reservations whose last record is in doubt
}

// A kind is what lines have in common that are counted together.
type kind struct{ run, operation, verdict, reason string }

// shown is how many lines of a kind are printed before they are only counted.
const shown = 4

func newNarrator(out io.Writer, asJSON bool) *narrator {
	return &narrator{out: out, asJSON: asJSON, open: map[string]bool{}, runs: map[string]*tally{}, lines: map[kind]int{}}
}

// Write takes a record. A line that cannot be printed fails it, and then the brake forwards nothing.
func (n *narrator) Write(_ context.Context, r audit.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case r.Kind == audit.Control:
		return n.control(r)
	case r.Probe: // the brake's own look at the vendor, on the way of a call
		return nil
	case r.Kind == audit.Intent:
		n.open[r.CallID] = true
		return nil
	}
	delete(n.open, r.CallID)
	n.count(r)
	return n.line(r)
}

func (n *narrator) count(r audit.Record) {
	t := n.runs[r.Run]
	if t == nil {
		t = &tally{doubts: map[string]bool{}}
		n.runs[r.Run] = t
	}
	if r.Kind == audit.Denied {
		n := int(max(1, r.Count)) // a record may stand for many
		t.calls, t.denied = t.calls+n, t.denied+n
		return
	}
	t.calls++
	t.forwarded++
	t.recorded += money(r.Actual)
	// A retry's record names the reservation of the first attempt, and what it says of it is newer.
	if reservation := cmp.Or(r.Reservation, r.CallID); r.Outcome == "in_doubt" {
		t.doubts[reservation] = true
	} else {
		delete(t.doubts, reservation)
	}
}

// An event is what -json prints between the calls.
type event struct {
	Type  string `json:"type"` // scene, control, note
	Scene string `json:"scene"`
	Run   string `json:"run,omitempty"`
	Text  string `json:"text,omitempty"`
}

// A callLine is a call as -json prints it.
type callLine struct {
	Type      string `json:"type"`
	Scene     string `json:"scene"`
	Run       string `json:"run"`
	Operation string `json:"operation"`
	Verdict   string `json:"verdict"`
	Outcome   string `json:"outcome,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Retry     bool   `json:"retry,omitempty"` // of an earlier call: the same spend
	Reserved  string `json:"reserved,omitempty"`
	Actual    string `json:"actual,omitempty"`
	Left      string `json:"left,omitempty"`
}

func (n *narrator) line(r audit.Record) error {
	l := callLine{
		Type: "call", Scene: n.scene, Run: r.Run, Operation: r.Operation, Verdict: string(r.Verdict), Outcome: r.Outcome,
		Reason: string(r.Reason), Detail: r.Detail, Retry: r.Attached,
	}
	if r.Kind == audit.Outcome {
		l.Reserved = usd(money(r.Reserved))
		if r.Outcome != "in_doubt" {
			l.Actual = usd(money(r.Actual))
		}
	}
	// Each run has one budget for money. A call that was refused before the ledger was asked has none in its record.
	for _, b := range r.Budgets {
		l.Left = usd(b.Left)
	}
	if n.asJSON {
		return n.encode(l)
	}
	return n.print(l)
}

// print prints the first lines of a kind, and counts the others.
func (n *narrator) print(l callLine) error {
	k := kind{l.Run, l.Operation, l.Verdict, cmp.Or(l.Reason, l.Outcome)}
	if l.Retry {
		k.reason += " (retry)"
	}
	if l.Outcome == "in_doubt" {
		l.Actual = "?"
	}
	if n.lines[k] == 0 {
		n.kinds = append(n.kinds, k)
	}
	if n.lines[k]++; n.lines[k] > shown {
		return nil
	}
	return n.row(k, number(l.Reserved), number(l.Actual), number(l.Left))
}

func (n *narrator) row(k kind, amounts ...any) error {
	format := "  %-9s  %-31s  %-7s  %-21s"
	for range amounts {
		format += "  %8s"
	}
	line := fmt.Sprintf(format, append([]any{k.run, k.operation, k.verdict, k.reason}, amounts...)...)
	_, err := fmt.Fprintln(n.out, strings.TrimRight(line, " "))
	return err
}

// control tells of what was done to keys; that one was issued is in the line of its first call.
func (n *narrator) control(r audit.Record) error {
	switch {
	case n.asJSON:
		return n.encode(event{Type: "control", Scene: n.scene, Run: r.Run, Text: r.Detail})
	case r.Detail == "issued":
		return nil
	}
	_, err := fmt.Fprintf(n.out, "  -- %s\n", r.Detail)
	return err
}

// begin opens a scene.
func (n *narrator) begin(title string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scene = title
	if n.asJSON {
		_ = n.encode(event{Type: "scene", Scene: title})
		return
	}
	fmt.Fprintf(n.out, "%s\n", title)
	_ = n.row(kind{"run", "operation", "verdict", "reason"}, "reserved", "actual", "left USD")
}

// end closes a scene.
func (n *narrator) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flush()
	if !n.asJSON {
		fmt.Fprintln(n.out)
	}
}

// flush says how many lines of each kind were counted and not printed.
func (n *narrator) flush() {
	for _, k := range n.kinds {
		if more := n.lines[k] - shown; more > 0 {
			_ = n.row(k, fmt.Sprintf("and %d more", more))
		}
	}
	n.kinds, n.lines = nil, map[kind]int{}
}

// note says something beside the calls.
func (n *narrator) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flush()
	text := fmt.Sprintf(format, args...)
	if n.asJSON {
		_ = n.encode(event{Type: "note", Scene: n.scene, Text: text})
		return
	}
	fmt.Fprintf(n.out, "  -- %s\n", text)
}

func (n *narrator) encode(v any) error {
	e := json.NewEncoder(n.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// money is the sum of lines in micro-USD, which is the only currency here.
func money(lines []cost.Line) int64 {
	sum, _ := cost.Sum(lines, cost.Spend, "USD") // out of range only above nine billion
	return sum
}

// held is what a reservation in doubt holds, in micro-USD.
func held(h ledger.Hold) (micros int64) {
	for _, e := range h.Entries {
		if e.Meter.Money() {
			micros += e.Held
		}
	}
	return micros
}

func usd(micros int64) string { return cost.Decimal(micros) + " USD" }

func number(amount string) string { return strings.TrimSuffix(amount, " USD") }
