package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// A text is what is kept under a name, until when.
type text struct {
	tenant, name string
	bytes        []byte
	until        time.Time
}

// Keep stores text under name for a while. Of more than ten thousand the oldest goes.
func (l *Ledger) Keep(_ context.Context, tenant, name string, content []byte, d time.Duration) error {
	if len(content) > ledger.MostKept {
		return fmt.Errorf("ledger: a text of %d bytes is longer than %d; it is not kept", len(content), ledger.MostKept)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	l.texts = slices.DeleteFunc(l.texts, func(o text) bool { return o.tenant == tenant && o.name == name || !o.until.After(now) })
	if d <= 0 {
		return nil
	}
	l.texts = append(l.texts, text{tenant, name, append([]byte{}, content...), now.Add(d)})
	l.texts = slices.Delete(l.texts, 0, max(0, len(l.texts)-mostTexts))
	return nil
}

// Kept returns what is stored, or nil.
func (l *Ledger) Kept(_ context.Context, tenant, name string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.texts, func(o text) bool { return o.tenant == tenant && o.name == name })
	if i < 0 || !l.texts[i].until.After(l.Now()) {
		return nil, nil
	}
	return bytes.Clone(l.texts[i].bytes), nil
}
