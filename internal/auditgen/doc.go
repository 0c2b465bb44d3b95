// Package auditgen makes up the records of a fleet of agents over some months, as brakes write them: intents and outcomes,
// probes, refusals with counts, calls in doubt and what was found out about them, retries, prices that come days later,
// corrections, narrowed keys, budgets of runs and of teams. The same options give the same records.
//
// A few facts stand in them whatever the options, for questions that have to find them; see [LoopRun] and what follows it.
// All else is drawn at random, so that a right answer can only come from reading the records.
package auditgen

import (
	"cmp"
	"container/heap"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

// Options say how large a world is.
type Options struct {
	Seed    uint64
	Records int       // about how many. Default: 20 000
	Days    int       // over which they are spread. Default: 90; at least 30
	Until   time.Time // their end, 00:00 UTC. Default: 2026-11-24
}

// A World makes records. It is used once, by one goroutine.
type World struct {
	Start, Until time.Time

	rng     *rand.Rand
	now     time.Time
	queue   queue
	seq     int
	out     []audit.Record // of the event under way
	teams   map[team]*budget
	perDay  float64 // runs
	runs    int
	figures map[Figure]int64
}

// A Figure names an amount that a vendor has counted: on a day, for a credential, on a meter in a currency.
type Figure struct {
	Day                time.Time // 00:00 UTC
	Vendor, Credential string
	Meter              cost.Meter
	Currency           cost.Currency
}

// recordsOfARun is how many records a run has, about.
const recordsOfARun = 40.7

// New makes a world.
func New(o Options) *World {
	o.Records, o.Days = cmp.Or(o.Records, 20_000), cmp.Or(o.Days, 90)
	if o.Until.IsZero() {
		o.Until = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	}
	w := &World{
		Start: o.Until.AddDate(0, 0, -o.Days), Until: o.Until,
		rng:   rand.New(rand.NewPCG(o.Seed, 0x6b6579627261_6b65)),
		teams: map[team]*budget{}, figures: map[Figure]int64{},
		perDay: max(1, float64(o.Records)/recordsOfARun/float64(o.Days)),
	}
	w.at(w.Start, w.arrivals)
	w.plant()
	return w
}

// Records are the records, in the order of their times.
func (w *World) Records() iter.Seq[audit.Record] {
	return func(yield func(audit.Record) bool) {
		for w.queue.Len() > 0 {
			e := heap.Pop(&w.queue).(event)
			if w.now = e.at; !w.now.Before(w.Until) {
				continue
			}
			e.do()
			for _, r := range w.out {
				if !yield(r) {
					return
				}
			}
			w.out = w.out[:0]
		}
	}
}

// Figures are what the vendors counted: what calls that were executed did cost in the end, on the day on which they were
// made, and beside that what no record knows of, on [MissingDay]. They are complete when Records has ended.
func (w *World) Figures() map[Figure]int64 { return w.figures }

// arrivals starts a run now and then.
func (w *World) arrivals() {
	gap := time.Duration(float64(24*time.Hour) / w.perDay * (0.2 + 1.6*w.rng.Float64()))
	if next := w.now.Add(gap); next.Before(w.Until.Add(-time.Hour)) {
		w.at(next, w.arrivals)
	}
	w.start()
}

// put gives a record its time and id and hands it out.
func (w *World) put(r audit.Record) {
	r.Version, r.ID, r.Time = 1, w.id("e"), w.now
	w.out = append(w.out, r)
}

// at lets do happen at a time, and never at or after the end.
func (w *World) at(t time.Time, do func()) {
	w.seq++
	heap.Push(&w.queue, event{t.Truncate(time.Microsecond), w.seq, do})
}

func (w *World) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// in is a duration between two.
func (w *World) in(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)))
}

func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

// id has the form of the brake's own.
func (w *World) id(prefix string) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	b := []byte(prefix)
	for range 2 {
		for n, bits := 13, w.rng.Uint64(); n > 0; n, bits = n-1, bits>>5 {
			b = append(b, letters[bits&31])
		}
	}
	return string(b)
}

// digest has the form of a keyed digest.
func (w *World) digest() string {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 24)
	for n, bits := 0, uint64(0); n < 24; n, bits = n+1, bits>>4 {
		if n%16 == 0 {
			bits = w.rng.Uint64()
		}
		b = append(b, hex[bits&15])
	}
	return string(b)
}

// An event happens at a time, and those of one time in the order in which they were planned.
type event struct {
	at  time.Time
	seq int
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}
