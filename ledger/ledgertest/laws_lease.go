package ledgertest

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// leaser is what leases are asked of. A law about them holds of a ledger that has none.
func (w *world) leaser() (lease func(name, holder string, d time.Duration, want bool), ok bool) {
	l, ok := w.Ledger.(ledger.Leaser)
	return func(name, holder string, d time.Duration, want bool) {
		got, err := l.Lease(w.ctx, acme, name, holder, d)
		w.must("lease", err)
		if got != want {
			w.fail("%s asks for %s for %s and is told %t, want %t", holder, name, d, got, want)
		}
	}, ok
}

var leaseLaws = []Law{
	{"lease", "What one has leased nobody else gets until its time is over by the ledger's clock, and then the next who asks.", func(w *world) {
		lease, ok := w.leaser()
		if !ok {
			return // the contract leaves it open
		}
		lease("job", "a", time.Minute, true)
		lease("job", "b", time.Minute, false)
		w.clock.Add(time.Minute - time.Microsecond)
		lease("job", "b", time.Hour, false)
		w.clock.Add(time.Microsecond)
		lease("job", "b", time.Minute, true)
		lease("job", "a", time.Minute, false)
		w.clock.Add(-time.Hour)
		lease("job", "a", time.Minute, false)
	}},
	{"lease-again", "Who has a lease and asks again has it from then on for as long as it says, longer or shorter.", func(w *world) {
		lease, ok := w.leaser()
		if !ok {
			return
		}
		lease("job", "a", time.Minute, true)
		w.clock.Add(50 * time.Second)
		lease("job", "a", time.Minute, true)
		w.clock.Add(50 * time.Second)
		lease("job", "b", time.Minute, false)
		lease("job", "a", time.Second, true)
		w.clock.Add(time.Second)
		lease("job", "b", time.Minute, true)
	}},
	{"lease-up", "Who has a lease gives it up by asking for no time; who has it not gives up nothing.", func(w *world) {
		lease, ok := w.leaser()
		if !ok {
			return
		}
		lease("job", "a", 0, true) // nobody has it
		lease("job", "a", time.Minute, true)
		lease("job", "b", 0, false)
		lease("job", "b", time.Minute, false)
		lease("job", "a", 0, true)
		lease("job", "b", time.Minute, true)
	}},
	{"lease-apart", "A lease is of one name in one tenant, whatever signs are in the names, and an empty holder is an error.", func(w *world) {
		lease, ok := w.leaser()
		if !ok {
			return
		}
		for i, name := range []string{"job", "job ", "", "job}", "{job}", "r1", "ä\n:", "9 b"} {
			lease(name, fmt.Sprint(i, " holder\n", i), time.Minute, true)
			lease(name, fmt.Sprint(i), time.Minute, false)
			lease(name, fmt.Sprint(i, " holder\n", i), time.Minute, true)
		}
		l, _ := w.Ledger.(ledger.Leaser)
		if got, err := l.Lease(w.ctx, "other", "job", "b", time.Minute); err != nil || !got {
			w.fail("in another tenant: %t, %v", got, err)
		}
		if got, err := l.Lease(w.ctx, acme, "free", "", time.Minute); err == nil || got {
			w.fail("nobody was given a lease")
		}
		lease("free", "a", time.Minute, true)
	}},
	{"lease-race", "Of many who ask at once one is given the lease.", func(w *world) {
		l, ok := w.Ledger.(ledger.Leaser)
		if !ok {
			return
		}
		for round := range 5 {
			var given atomic.Int64
			var wg sync.WaitGroup
			errs := make(chan error, 20)
			for i := range cap(errs) {
				wg.Go(func() {
					got, err := l.Lease(w.ctx, acme, fmt.Sprint("job", round), fmt.Sprint("holder", i), time.Minute)
					if got {
						given.Add(1)
					}
					errs <- err
				})
			}
			wg.Wait()
			for range cap(errs) {
				w.must("lease", <-errs)
			}
			if n := given.Load(); n != 1 {
				w.fail("%d have the same lease", n)
			}
		}
	}},
	{"lease-books", "Neither leases nor kept texts change what is spent, held or kept of a reservation, whatever they are named.", func(w *world) {
		shared := w.share(team(50))
		r := w.pay(8, purse(10), shared)
		r.Object, r.Memo = "thing", "memo"
		h := w.admit(r)
		for _, name := range []string{h.ID, key1, "team", "thing", "purse", "open", "controls", "m"} {
			if l, ok := w.Ledger.(ledger.Leaser); ok {
				_, err := l.Lease(w.ctx, acme, name, h.ID, time.Minute)
				w.must("lease", err)
			}
			if k, ok := w.Ledger.(ledger.Keeper); ok {
				w.must("keep", k.Keep(w.ctx, acme, name, []byte("text"), time.Minute))
				w.must("keep", k.Keep(w.ctx, acme, name, nil, 0))
			}
		}
		w.stands(purse(10), 0, 8)
		w.stands(shared, 0, 8)
		w.memo(h.ID, ledger.InFlight, "memo", w.stillOpen())
		w.settle(h, usd(7))
		w.stands(purse(10), 7, 0)
		w.stands(shared, 7, 0)
	}},
}

// keeper is what texts are kept with: keep, and what is expected to be kept; nil is nothing.
func (w *world) keeper() (keep func(name, text string, d time.Duration), kept func(name string, want []byte), ok bool) {
	k, ok := w.Ledger.(ledger.Keeper)
	return func(name, text string, d time.Duration) {
			buffer := []byte(text)
			w.must("keep", k.Keep(w.ctx, acme, name, buffer, d))
			clear(buffer) // it is the caller's again
		}, func(name string, want []byte) {
			got, err := k.Kept(w.ctx, acme, name)
			w.must("kept", err)
			if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				w.fail("under %q there is %.40q (nothing: %t), want %.40q (nothing: %t)", name, got, got == nil, want, want == nil)
			}
			clear(got) // it is the caller's
		}, ok
}

var keepLaws = []Law{
	{"keep", "A text is kept to the letter, whatever bytes are in it, until its time is over by the ledger's clock, and then there is nothing.", func(w *world) {
		keep, kept, ok := w.keeper()
		if !ok {
			return // the contract leaves it open
		}
		all := make([]byte, 1024)
		for i := range all {
			all[i] = byte(i)
		}
		texts := []string{"answer", "", "\x00", " 12 \n", "\xff\xfe\r\n", string(all)}
		for i, text := range texts {
			kept(fmt.Sprint("t", i), nil)
			keep(fmt.Sprint("t", i), text, time.Minute)
		}
		w.clock.Add(time.Minute - time.Microsecond)
		for range 2 {
			for i, text := range texts {
				kept(fmt.Sprint("t", i), []byte(text))
			}
		}
		w.clock.Add(time.Microsecond)
		for i := range texts {
			kept(fmt.Sprint("t", i), nil)
		}
	}},
	{"keep-newest", "A text takes the place of the one before, with a time of its own; with none nothing is left.", func(w *world) {
		keep, kept, ok := w.keeper()
		if !ok {
			return
		}
		keep("t", "a longer first one", time.Hour)
		keep("t", "second", time.Minute)
		kept("t", []byte("second"))
		w.clock.Add(time.Minute)
		kept("t", nil)
		keep("t", "third", time.Second)
		keep("t", "fourth", time.Hour)
		w.clock.Add(time.Minute)
		kept("t", []byte("fourth"))
		keep("t", "fifth", 0)
		kept("t", nil)
	}},
	{"keep-size", "A text of the most bytes is kept; a longer one is an error, and what was there stays.", func(w *world) {
		keep, kept, ok := w.keeper()
		if !ok {
			return
		}
		most := bytes.Repeat([]byte("\x00\xffab"), ledger.MostKept/4)
		keep("t", string(most), time.Minute)
		kept("t", most)
		k, _ := w.Ledger.(ledger.Keeper)
		for _, name := range []string{"t", "new"} {
			if err := k.Keep(w.ctx, acme, name, append(bytes.Clone(most), 'x'), time.Minute); err == nil {
				w.fail("a text of %d bytes is kept", len(most)+1)
			}
		}
		kept("t", most)
		kept("new", nil)
	}},
	{"keep-apart", "A text is kept under one name in one tenant, whatever signs are in the names.", func(w *world) {
		keep, kept, ok := w.keeper()
		if !ok {
			return
		}
		names := []string{"t", "t ", "", "t}", "{t}", "l:t", "ä\n:"}
		for _, name := range names {
			keep(name, "text of "+name, time.Minute)
		}
		for _, name := range names {
			kept(name, []byte("text of "+name))
		}
		k, _ := w.Ledger.(ledger.Keeper)
		if got, err := k.Kept(w.ctx, "other", "t"); err != nil || got != nil {
			w.fail("in another tenant: %q, %v", got, err)
		}
		w.must("keep", k.Keep(w.ctx, "other", "t", []byte("theirs"), time.Minute))
		kept("t", []byte("text of t"))
	}},
}
