package ledgertest

import (
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// again is a call that a repeat rule of an id counts.
func (w *world) again(key, id string, most int64, window time.Duration) ledger.Request {
	r := w.call(key, lines(usd(1)), purse(1000))
	r.Repeat = &ledger.Repeat{ID: id, Most: most, Window: window}
	return r
}

var repeatLaws = []Law{
	{"repeat", "The same call is admitted as often as its rule says in any span of the rule's length, whichever key makes it, and others are not counted with it.", func(w *world) {
		for _, key := range []string{key1, key2, key1} {
			w.admit(w.again(key, "refund", 3, time.Hour))
			w.clock.Add(10 * time.Minute)
		}
		d := w.refuse(w.again(key2, "refund", 3, time.Hour), reason.RepeatExceeded)
		if s := d.Shortfalls[0]; len(d.Shortfalls) != 1 || s.Spent != 3 || s.Limit != 3 || s.Need != 1 || !s.Reset.Equal(w.clock.Now().Add(30*time.Minute)) {
			w.fail("the refusal says %+v", d)
		}
		w.admit(w.again(key1, "charge", 3, time.Hour))
		w.clock.Add(30*time.Minute - time.Microsecond)
		w.refuse(w.again(key1, "refund", 3, time.Hour), reason.RepeatExceeded)
		w.clock.Add(time.Microsecond)
		w.admit(w.again(key1, "refund", 3, time.Hour))
		w.refuse(w.again(key1, "refund", 3, time.Hour), reason.RepeatExceeded)
	}},
	{"repeat-admitted", "What is refused is not counted by a repeat rule, and a call that a repeat rule refuses holds nothing.", func(w *world) {
		for range 3 {
			r := w.again(key1, "refund", 1, time.Hour)
			r.Lines = lines(usd(1001))
			w.refuse(r, reason.BudgetExceeded)
		}
		w.admit(w.again(key1, "refund", 1, time.Hour))
		w.refuse(w.again(key1, "refund", 1, time.Hour), reason.RepeatExceeded)
		w.stands(purse(1000), 0, 1)
	}},
	{"repeat-read", "A read that is sent twice is one repetition and gets one answer, though no budget counts it.", func(w *world) {
		read := w.call(key1, nil, purse(10))
		read.Read, read.Probing, read.Repeat = true, true, &ledger.Repeat{ID: "look", Most: 1, Window: time.Hour}
		w.admit(read)
		w.admit(read)
		read.Repeat = nil
		read.ID, read.Nonce = w.id("r"), w.id("n")
		w.admit(read)
		w.admit(read)
	}},
	{"repeat-retry", "A retry of the same spend is no repetition, nor is a reserve that the store's client sends twice.", func(w *world) {
		r := w.again(key1, "refund", 2, time.Hour)
		r.Claim = &ledger.Claim{ID: "c1", Fingerprint: "f", Memory: time.Hour}
		w.admit(r)
		if h := w.admit(r); h.Attached {
			w.fail("a replay was taken for a retry")
		}
		r.ID, r.Nonce = w.id("r"), w.id("n")
		if h := w.admit(r); !h.Attached {
			w.fail("the retry did not attach")
		}
		w.admit(w.again(key1, "refund", 2, time.Hour))
		w.refuse(w.again(key1, "refund", 2, time.Hour), reason.RepeatExceeded)
	}},
	{"repeat-clock-back", "A clock that goes back makes no room under a repeat rule.", func(w *world) {
		w.admit(w.again(key1, "refund", 2, time.Minute))
		w.clock.Add(-time.Hour)
		w.admit(w.again(key1, "refund", 2, time.Minute))
		w.refuse(w.again(key1, "refund", 2, time.Minute), reason.RepeatExceeded)
		w.clock.Add(30 * time.Minute)
		w.refuse(w.again(key1, "refund", 2, time.Minute), reason.RepeatExceeded)
	}},
	{"repeat-tenants", "A repeat rule counts within its tenant.", func(w *world) {
		w.open("other", key1)
		w.admit(w.again(key1, "refund", 1, time.Hour))
		r := w.again(key1, "refund", 1, time.Hour)
		r.Tenant = "other"
		w.admit(r)
	}},
	{"repeat-form", "A repeat rule that says nothing, or more than can be remembered, admits no call.", func(w *world) {
		for _, bad := range []ledger.Repeat{
			{}, {ID: "x", Most: 0, Window: time.Hour}, {ID: "x", Most: 1}, {ID: "x", Most: ledger.MostRepeats + 1, Window: time.Hour},
			{Most: 1, Window: time.Hour}, {ID: "x", Most: 1, Window: time.Second / 2},
		} {
			r := w.pay(1, purse(10))
			r.Repeat = &bad
			w.fails(r)
		}
		w.stands(purse(10), 0, 0)
	}},
}

var observeLaws = []Law{
	{"observe", "An observed budget counts apart from the enforced one of the same name, and refuses nothing; the hold says what would have been refused.", func(w *world) {
		real, seen := purse(10), purse(10)
		seen.Observed = true
		w.admit(w.pay(4, real))
		if h := w.admit(w.pay(8, seen)); len(h.Would) != 0 {
			w.fail("a call that fits would have been refused: %+v", h.Would)
		}
		h := w.admit(w.pay(7, seen))
		if len(h.Would) != 1 || h.Would[0].Held != 8 || h.Would[0].Need != 7 || h.Would[0].Limit != 10 || h.Would[0].Name != "purse" {
			w.fail("it says that it would have been refused for %+v", h.Would)
		}
		w.settle(h, usd(5))
		w.stands(seen, 5, 8)
		w.stands(real, 0, 4)
		w.admit(w.pay(6, real))
		w.refuse(w.pay(1, real), reason.BudgetExceeded)
	}},
	{"observe-shared", "A shared budget that a key only observes is the row's own, counted apart from what others spend in it.", func(w *world) {
		b := w.share(team(10))
		seen := b
		seen.Observed = true
		w.admit(w.pay(6, b))
		if h := w.admit(w.call(key2, lines(usd(25)), seen)); len(h.Would) != 1 || h.Would[0].Limit != 10 {
			w.fail("it says that it would have been refused for %+v", h.Would)
		}
		w.standsFor(key2, seen, 0, 25)
		w.stands(b, 0, 6)
		w.admit(w.pay(4, b))
		gone := ref("nowhere")
		gone.Observed = true
		w.refuse(w.pay(1, gone), reason.BudgetMissing)
	}},
	{"observe-repeat", "An observed repeat rule counts apart from the enforced one of the same id, refuses nothing, and says so in the hold.", func(w *world) {
		r := w.again(key1, "refund", 1, time.Hour)
		r.Repeat.Observed = true
		w.admit(r)
		r = w.again(key1, "refund", 1, time.Hour)
		r.Repeat.Observed = true
		if h := w.admit(r); len(h.Would) != 1 || h.Would[0].Name != "repeat" {
			w.fail("it says that it would have been refused for %+v", h.Would)
		}
		w.admit(w.again(key1, "refund", 1, time.Hour))
		w.refuse(w.again(key1, "refund", 1, time.Hour), reason.RepeatExceeded)
	}},
	{"observe-stop", "Revoke, pause and expiry stop an observed key like any other.", func(w *world) {
		seen := purse(10)
		seen.Observed = true
		w.turn(ledger.Pause, ledger.Control{Tenant: acme, Run: "run-" + key1})
		w.refuse(w.pay(1, seen), reason.KeyPaused)
		r := w.call(key2, lines(usd(1)), seen)
		r.Expires = w.clock.Now()
		w.refuse(r, reason.KeyExpired)
	}},
}

var narrowedLaws = []Law{
	{"narrowed", "A narrowed key spends from its own budgets and from its ancestors', which are counted apart even under one name.", func(w *world) {
		root, child, grandchild := purse(10), purse(6), purse(6)
		child.Of, grandchild.Of = "child", "grandchild"
		w.admit(w.pay(5, root, child))
		d := w.refuse(w.pay(2, root, child), reason.BudgetExceeded)
		if len(d.Shortfalls) != 1 || d.Shortfalls[0].Of != "child" {
			w.fail("refused for %+v", d.Shortfalls)
		}
		w.admit(w.pay(4, root, grandchild))
		d = w.refuse(w.pay(2, root, grandchild), reason.BudgetExceeded)
		if len(d.Shortfalls) != 1 || d.Shortfalls[0].Of != "" {
			w.fail("refused for %+v", d.Shortfalls)
		}
		w.stands(root, 0, 9)
		w.stands(child, 0, 5)
		w.stands(grandchild, 0, 4)
	}},
	{"narrowed-settle", "A narrowed key's call settles and is given back in all the budgets that it was held in.", func(w *world) {
		child := purse(6)
		child.Of = "child"
		h, back := w.admit(w.pay(3, purse(10), child)), w.admit(w.pay(3, purse(10), child))
		w.settle(h, usd(2))
		w.release(back, true)
		w.stands(purse(10), 2, 0)
		w.stands(child, 2, 0)
	}},
	{"narrowed-currency", "Each key of a chain needs a budget in the currency of the call, where it counts such calls at all.", func(w *world) {
		child := purse(10)
		child.Of, child.Currency = "child", "EUR"
		w.refuse(w.pay(1, purse(10), child), reason.CurrencyDenied)
		w.refuse(w.call(key1, lines(eur(1)), purse(10), child), reason.CurrencyDenied)
	}},
}
