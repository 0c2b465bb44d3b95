package backtest

import (
	"container/heap"
	"fmt"
	"iter"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

// inOrder are the records in the order of their times, those of one time as they came, each id once. It keeps back those
// of the last late, so that what comes a little later finds its place.
func inOrder(records iter.Seq2[audit.Record, error], late time.Duration) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		q := &queue{}
		var newest, told time.Time
		seen := map[string]bool{} // the ids in the queue and those that have left it in the last span
		var left []waiting
		n := 0
		for r, err := range records {
			switch {
			case err != nil:
				yield(r, fmt.Errorf("backtest: %w", err))
				return
			case r.ID != "" && seen[r.ID]:
				continue
			case r.Time.Before(told):
				yield(r, fmt.Errorf("%w: record %s of %s comes after one of %s", ErrOrder, r.ID, stamp(r.Time), stamp(newest)))
				return
			}
			seen[r.ID] = true
			if r.Time.After(newest) {
				newest = r.Time
			}
			n++
			heap.Push(q, waiting{r, n})
			for q.Len() > 0 && newest.Sub((*q)[0].Time) > late {
				w := heap.Pop(q).(waiting)
				told, left = w.Time, append(left, w)
				if !yield(w.Record, nil) {
					return
				}
			}
			for len(left) > 0 && newest.Sub(left[0].Time) > 2*late {
				delete(seen, left[0].ID)
				left = left[1:]
			}
		}
		for q.Len() > 0 {
			if !yield(heap.Pop(q).(waiting).Record, nil) {
				return
			}
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// A waiting record has come as the nth.
type waiting struct {
	audit.Record
	n int
}

type queue []waiting

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].Time.Equal(q[j].Time) {
		return q[i].Time.Before(q[j].Time)
	}
	return q[i].n < q[j].n
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(x any) { *q = append(*q, x.(waiting)) }

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = waiting{}
	*q = (*q)[:len(*q)-1]
	return last
}
