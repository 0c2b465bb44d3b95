package ledgertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// unsettled expects the reservations of acme that are open, oldest first.
func (w *world) unsettled(names []string, want ...string) []ledger.Hold {
	list, err := w.Unsettled(w.ctx, acme, names...)
	w.must("unsettled", err)
	var got []string
	for _, h := range list {
		got = append(got, h.ID)
	}
	if !slices.Equal(got, want) {
		w.fail("open are %v, want %v", got, want)
	}
	return list
}

var openLaws = []Law{
	{"unsettled", "What is in flight, pending or in doubt is listed as open, oldest first, with its money, and nothing else is.", func(w *world) {
		var ids []string
		var holds []ledger.Hold
		for i := range int64(5) {
			h := w.admit(w.pay(i+1, purse(1000)))
			ids, holds = append(ids, h.ID), append(holds, h)
			w.clock.Add(time.Second)
		}
		w.settle(holds[0], usd(1))
		w.release(holds[1], true)
		w.pend(holds[2], "", usd(3))
		w.doubt(holds[3])
		read := w.pay(0, purse(1000))
		read.Read, read.Lines = true, lines(oneCall)
		w.admit(read)
		list := w.unsettled(nil, ids[2], ids[3], ids[4])
		for i, want := range []ledger.Phase{ledger.Pending, ledger.Doubt, ledger.InFlight} {
			if h := list[i]; h.Phase != want || len(h.Entries) != 1 || h.Entries[0].Held != int64(i+3) || h.Key != key1 {
				w.fail("open reservation %d is %+v", i, h)
			}
		}
		w.settle(holds[2], usd(3))
		w.settle(holds[3], usd(3))
		w.settle(holds[4], usd(3))
		w.unsettled(nil)
	}},
	{"unsettled-names", "The open calls that a control stops are found by its name.", func(w *world) {
		one := w.admit(w.pay(1, purse(10)))
		w.clock.Add(time.Second)
		two := w.admit(w.call(key2, lines(usd(1)), purse(10)))
		for _, c := range []struct {
			c    ledger.Control
			want []string
		}{
			{ledger.Control{Tenant: acme, Run: "run-" + key1}, []string{one.ID}},
			{ledger.Control{Tenant: acme, Agent: "agent-" + key2}, []string{two.ID}},
			{ledger.Control{Tenant: acme, Label: "label-" + key1}, []string{one.ID}},
			{ledger.Control{Tenant: acme, Key: key2}, []string{two.ID}},
			{ledger.Control{Tenant: acme}, []string{one.ID, two.ID}},
			{ledger.Control{Tenant: acme, Run: "nobody"}, nil},
		} {
			name, err := c.c.Name()
			w.must("name", err)
			w.unsettled([]string{name}, c.want...)
		}
		w.unsettled([]string{"run:run-" + key1, "run:run-" + key2}, one.ID, two.ID)
		if h := w.unsettled([]string{"key:" + key1}, one.ID)[0]; !slices.Contains(h.Controls, "agent:agent-"+key1) {
			w.fail("the hold does not say who made the call: %v", h.Controls)
		}
	}},
	{"unsettled-settled-later", "A pending reservation that is adjusted by a later settle stays listed until nothing of it is open.", func(w *world) {
		h := w.admit(w.pay(5, purse(10)))
		w.pend(h, "thing", usd(5))
		w.unsettled(nil, h.ID)
		w.pend(h, "thing", usd(3))
		w.unsettled(nil, h.ID)
		w.release(w.phase(h.ID, ledger.Pending), false)
		w.unsettled(nil)
	}},
	{"watch", "A ledger that can be watched tells of every control, and stops telling when the watcher's context ends.", func(w *world) {
		watcher, ok := w.Ledger.(ledger.Watcher)
		if !ok {
			return // the contract leaves it open
		}
		ctx, cancel := context.WithTimeoutCause(w.ctx, 20*time.Second, errors.New("nothing was told in time"))
		heard, ended := make(chan ledger.Control, 100), make(chan error, 1)
		go func() { ended <- watcher.Watch(ctx, func(c ledger.Control) { heard <- c }) }()
		missed := ""
		// A watcher may need a moment before it hears: the same is said until it is heard.
		for _, want := range selectors() {
			want.Verb = ledger.Pause
			for got := (ledger.Control{}); got != want && ctx.Err() == nil; {
				w.control(want)
				select {
				case got = <-heard:
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				case err := <-ended:
					cancel()
					w.fail("Watch ended before its context: %v", err)
				}
			}
			if name, _ := want.Name(); ctx.Err() != nil && missed == "" {
				missed = name
			}
		}
		cancel()
		if err := <-ended; err == nil {
			w.fail("Watch ended without a cause")
		}
		if missed != "" {
			w.fail("the watcher was not told of the control %s", missed)
		}
	}},
}
