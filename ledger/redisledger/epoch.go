package redisledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// How a loss is detected. Redis can lose writes that it has acknowledged: it is flushed, another database is
// selected, a snapshot is restored under running processes, a replica is promoted that had not received them. So each
// tenant has a meta row (meta.lua): an epoch, a sequence that every write raises, and for each process how many
// writes were its own. Every reply tells the three, and every request carries back what this process was told before
// it sent the request. The store knows less than it has told: writes were lost, the tenant is frozen.
//
// The own count is needed because on a promoted replica other processes may write on and raise the sequence above
// what we know. And since requests that are on their way in that moment are carried out there with what was known
// before, they could raise our own count above what we know, too: then a number is given to us a second time, which is
// proof as well.
//
// There is no false alarm: what is carried was told by the store earlier, and all three only grow. A request that is
// carried out late or twice carries less than it could, and is compared with more. A denial writes nothing, yet what
// it told is carried.
//
// Not detected: losses of what no running process was told.

// A watch is what this process knows of one meta row.
type watch struct {
	key string

	mu    sync.Mutex
	epoch string // empty: not told yet
	seq   int64
	name  string // under which the store counts the writes of this process
	count int64  // how many
	last  int64  // seq of the newest
	given numbers
	lost  bool // a number was given twice
	moved bool // another process has re-armed, and this one has not put back yet what it knows
}

// carried is what of a watch a request takes along, as ARGV of watch.lua.
type carried struct {
	name, epoch string
	argv        []any
}

func (l *Ledger) watch(meta string) *watch {
	if w, ok := l.watches.Load(meta); ok {
		return w.(*watch)
	}
	w, _ := l.watches.LoadOrStore(meta, &watch{key: meta, name: nonce()})
	return w.(*watch)
}

func (w *watch) carry() carried {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost, fresh := "0", ""
	if w.lost {
		lost = "1"
	}
	if w.epoch == "" {
		fresh = nonce()
	}
	return carried{w.name, w.epoch, []any{w.name, w.epoch, digits(w.seq), digits(w.count), digits(w.last), lost, fresh}}
}

// errLost says that the reply itself has shown the loss. What the verb did stands in the store.
var errLost = errors.New("the store has lost writes that it had acknowledged")

// watched carries out a script that ends with watch.lua.
func (l *Ledger) watched(ctx context.Context, s script, keys []string, text string) (*reply, error) {
	meta := metaOf(keys[0])
	w := l.watch(meta)
	sent := w.carry()
	keys = append(slices.Clip(keys), meta)
	got, err := within(ctx, l.timeout, func(ctx context.Context) (*reply, error) {
		to, err := l.route(ctx, s, meta)
		if err != nil {
			return nil, err
		}
		defer to.close()
		got, err := decode(s.Run(ctx, to, keys, append([]any{text}, sent.argv...)...).Result())
		if err != nil {
			l.moved(ctx, err)
			return nil, err
		}
		if err := w.told(sent, got); err != nil {
			return nil, err
		}
		return got, to.wait(ctx, got.status)
	})
	if err != nil {
		return nil, err
	}
	if w.arrived() {
		l.afterRearm(meta)
	}
	if got.status == "denied" && len(got.rest) == 2 && got.rest[0] == string(reason.LedgerFrozen) {
		return nil, &ledger.Denied{Code: reason.LedgerFrozen, Name: got.rest[1]}
	}
	return got, nil
}

// told takes from a reply what watch.lua has added.
func (w *watch) told(sent carried, got *reply) error {
	if len(got.rest) < 5 {
		return errReply
	}
	at := len(got.rest) - 5
	more := &reply{status: got.status, rest: got.rest[at:]}
	got.rest = got.rest[:at]
	epoch, seq, count, last, flags := more.word(), more.number(), more.number(), more.number(), more.word()
	if more.bad {
		return errReply
	}
	got.frozen = strings.Contains(flags, "f")
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch != w.epoch {
		// Another epoch is taken over only from a reply that says that ours has been ended, so an old reply that comes
		// late changes nothing, nor does a store that lost its own.
		if w.epoch != "" && (w.epoch != sent.epoch || !strings.Contains(flags, "e")) {
			return nil
		}
		w.moved = w.epoch != ""
		w.epoch, w.seq, w.count, w.last, w.given, w.lost = epoch, 0, 0, 0, numbers{}, false
	}
	w.seq = max(w.seq, seq)
	if w.name != sent.name {
		return nil
	}
	if strings.Contains(flags, "d") {
		w.name, w.count, w.last, w.given = nonce(), 0, 0, numbers{}
		return nil
	}
	w.count, w.last = max(w.count, count), max(w.last, last)
	if strings.Contains(flags, "w") && !w.given.take(count) && !strings.Contains(flags, "f") {
		w.lost = true
		return errLost
	}
	return nil
}

// arrived says, once, that the epoch was taken over from a re-arm.
func (w *watch) arrived() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := w.moved
	w.moved = false
	return moved
}

// numbers remembers which of the newest 1024 numbers of our writes were given to us.
type numbers struct {
	top  int64
	bits [16]uint64
}

// take says whether n is given for the first time, as far as is remembered.
func (s *numbers) take(n int64) bool {
	const size = 64 * int64(len(s.bits))
	if n <= s.top-size {
		return true
	}
	for s.top < n {
		s.top = max(s.top+1, n-size+1)
		s.bits[s.top%size/64] &^= 1 << (s.top % 64)
	}
	word, bit := &s.bits[n%size/64], uint64(1)<<(n%64)
	first := *word&bit == 0
	*word |= bit
	return first
}
