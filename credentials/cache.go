package credentials

import (
	"context"
	"sync"
	"time"
)

// A Cache is a Source that asks another at most once per reference and time to live, however many goroutines
// want it at once. Errors are not kept: the next Get asks again.
type Cache struct {
	source Source
	ttl    time.Duration

	mu    sync.Mutex
	slots map[string]*slot
}

// A slot is one reference. turn is a mutex that a waiter can give up on; it is held while the source is asked.
// The other fields are under the cache's mu, so that Drop never waits for a source.
type slot struct {
	turn    chan struct{}
	value   Credential
	until   time.Time
	dropped int // how often Drop was called, so that an answer from before it is not kept
}

// NewCache returns a cache over s that keeps what s answers for ttl. With ttl zero it keeps nothing.
func NewCache(s Source, ttl time.Duration) *Cache {
	return &Cache{source: s, ttl: ttl, slots: map[string]*slot{}}
}

// Get returns the credential of ref, from the cache or from the source. It fails when ctx ends while another
// caller is asking the source for the same reference.
func (c *Cache) Get(ctx context.Context, ref string) (Credential, error) {
	s := c.slot(ref)
	if v, ok := c.fresh(s); ok {
		return v, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return Credential{}, &Fault{ref, "waiting for another caller's question to the source: " + ctx.Err().Error(), context.Cause(ctx)}
	}
	if v, ok := c.fresh(s); ok { // whoever had the turn before has fetched it
		return v, nil
	}
	return c.fetch(ctx, ref, s)
}

// fetch asks the source; the caller has the turn.
func (c *Cache) fetch(ctx context.Context, ref string, s *slot) (Credential, error) {
	if c.source == nil {
		return Credential{}, errNoSource
	}
	before := c.drops(s)
	v, err := c.source.Get(ctx, ref)
	if err != nil {
		return Credential{}, err
	}
	if v.empty() {
		return Credential{}, &Fault{ref, "the source returned an empty credential", ErrUnknown}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.dropped == before {
		s.value, s.until = v, time.Now().Add(c.ttl)
	}
	return v, nil
}

// Drop forgets the credential of ref, because the vendor has refused it: the next Get asks the source. An answer
// that the source is giving meanwhile is not kept either.
func (c *Cache) Drop(ref string) {
	s := c.slot(ref)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.dropped++
	s.value, s.until = Credential{}, time.Time{}
}

// Check asks the source, see [Check].
func (c *Cache) Check(ctx context.Context) error { return Check(ctx, c.source) }

func (c *Cache) slot(ref string) *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[ref]
	if s == nil {
		s = &slot{turn: make(chan struct{}, 1)}
		c.slots[ref] = s
	}
	return s
}

func (c *Cache) fresh(s *slot) (Credential, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.value, time.Now().Before(s.until)
}

func (c *Cache) drops(s *slot) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.dropped
}
