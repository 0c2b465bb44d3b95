package memory

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

var (
	_ ledger.Leaser = (*Ledger)(nil)
	_ ledger.Keeper = (*Ledger)(nil)
)

// A lease is who has something, and until when.
type lease struct {
	holder string
	until  time.Time
}

// Lease gives name to holder for a while, unless another has it.
func (l *Ledger) Lease(_ context.Context, tenant, name, holder string, d time.Duration) (bool, error) {
	if holder == "" {
		return false, errors.New("ledger: a lease needs a holder")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(tenant), l.Now()
	maps.DeleteFunc(t.leases, func(_ string, had lease) bool { return !had.until.After(now) })
	if had, ok := t.leases[name]; ok && had.holder != holder {
		return false, nil
	}
	if d > 0 {
		t.leases[name] = lease{holder, now.Add(d)}
	} else {
		delete(t.leases, name)
	}
	return true, nil
}

// mostTexts is how many texts are kept, of all tenants together: of [ledger.MostKept] bytes each, that is 640 MB.
const mostTexts = 10_000

// texts are what is kept, of all tenants, by place and in the order in which it came.
type texts struct {
	at    map[place]*list.Element // of a text
	order *list.List              // the oldest first
	swept time.Time               // when all that was over has last gone
}

type place struct{ tenant, name string }

type text struct {
	place
	bytes []byte
	until time.Time
}

func newTexts() texts { return texts{at: map[place]*list.Element{}, order: list.New()} }

// put takes a text in. Of more than ten thousand the oldest goes.
func (t *texts) put(n text) {
	t.drop(n.place)
	t.at[n.place] = t.order.PushBack(n)
	if t.order.Len() > mostTexts {
		t.drop(t.order.Front().Value.(text).place)
	}
}

func (t *texts) drop(at place) {
	if e := t.at[at]; e != nil {
		t.order.Remove(e)
		delete(t.at, at)
	}
}

// sweep drops what is over, once a minute: it looks at all of them.
func (t *texts) sweep(now time.Time) {
	if since := now.Sub(t.swept); since >= 0 && since < time.Minute {
		return
	}
	t.swept = now
	for at, e := range t.at {
		if !e.Value.(text).until.After(now) {
			t.drop(at)
		}
	}
}

// Keep stores text under name for a while.
func (l *Ledger) Keep(_ context.Context, tenant, name string, content []byte, d time.Duration) error {
	if len(content) > ledger.MostKept {
		return fmt.Errorf("ledger: a text of %d bytes is longer than %d; it is not kept", len(content), ledger.MostKept)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, at := l.Now(), place{tenant, name}
	l.texts.sweep(now)
	if d > 0 {
		l.texts.put(text{at, append([]byte{}, content...), now.Add(d)})
	} else {
		l.texts.drop(at)
	}
	return nil
}

// Kept returns what is stored, or nil.
func (l *Ledger) Kept(_ context.Context, tenant, name string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.texts.at[place{tenant, name}]
	if e == nil || !e.Value.(text).until.After(l.Now()) {
		return nil, nil
	}
	return bytes.Clone(e.Value.(text).bytes), nil
}
