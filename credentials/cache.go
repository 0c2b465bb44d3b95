package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

const (
	fetchTime = 10 * time.Second // for one answer of a source
	patience  = time.Second      // how long a call waits for a source whose last answer it could use
	rest      = time.Second      // between a failure and the next question, and between two Drops
	longRest  = 30 * time.Second // between the questions to a source that has been out for a while
	slips     = 3                // failures in a row with nothing to use, from which on to rest between the questions
	maxAge    = time.Hour        // default of CacheOptions.MaxAge
)

// A Cache is a Source that asks another at most once per reference and time to live, however many goroutines want
// it at once.
//
// From three quarters of that time, or of the credential's own if it ends earlier, the source is asked again beside
// the calls, which go on with what is there. Once the time is over a call waits for the answer, but for no more than
// a second: if the source is out, slow or hangs, the last answer is used until it is MaxAge old, and never past its
// own end. The source is then asked again after one second, two, four and so on to thirty, and each failure is logged.
// An answer that the reference does not exist ends the use of the last one at once: a credential that was deleted is
// not used on. So does Drop.
//
// Where there is nothing to use, Get waits for the source and fails if it fails. From the third failure in a row on the
// error is the answer to everybody for a second.
type Cache struct {
	source      Source
	ttl, maxAge time.Duration
	log         *slog.Logger

	life    context.Context // of what is asked; not a caller's, whose httptrace would see the store's own token
	end     context.CancelFunc
	fetches sync.WaitGroup

	mu     sync.Mutex
	closed bool
	slots  map[string]*slot
}

// CacheOptions are the options of a [Cache].
type CacheOptions struct {
	// MaxAge is how long after it was fetched a credential may be used while the source does not answer. Less than the
	// time to live shortens that as well, so that nothing is used for longer. Default: 1 h
	MaxAge time.Duration

	Log *slog.Logger // that a source did not answer. Default: [slog.Default]
}

// A slot is one reference. Its fields are under the cache's mu.
type slot struct {
	value   Credential
	fetched time.Time // when the source was asked for value
	flight  *flight   // the question under way; nil if there is none, or if a Drop came since

	failure  error // of the last flight; nil if it succeeded
	failed   time.Time
	failures int // without a success between
	dropped  time.Time
}

// A flight is one question to the source, for all that wait for it.
type flight struct {
	began time.Time
	done  chan struct{} // closed when value and err are set
	value Credential
	err   error
}

// NewCache returns a cache over s that uses what s answers for ttl. With ttl zero every Get asks.
func NewCache(s Source, ttl time.Duration, o *CacheOptions) *Cache {
	o = cmp.Or(o, &CacheOptions{})
	c := &Cache{source: s, maxAge: cmp.Or(o.MaxAge, maxAge), log: cmp.Or(o.Log, slog.Default()), slots: map[string]*slot{}}
	c.ttl = min(ttl, c.maxAge)
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Get returns the credential of ref, from the cache or from the source. What is in the cache needs no time, so it is
// there even if ctx has ended.
func (c *Cache) Get(ctx context.Context, ref string) (Credential, error) {
	v, f, err := c.look(ref)
	if f == nil {
		return v, err
	}
	return c.await(ctx, ref, v, f)
}

// look returns what to use, or the flight to wait for and what could be used if it takes too long. It starts the
// flight where it is time for one.
func (c *Cache) look(ref string) (v Credential, f *flight, err error) {
	if c.source == nil {
		return Credential{}, nil, errNoSource
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return Credential{}, nil, errClosed
	}
	s, now := c.slots[ref], time.Now()
	if s == nil {
		s = &slot{}
		c.slots[ref] = s
	}
	v = c.usable(s, now)
	if s.flight == nil && !now.Before(c.due(s, v)) {
		s.flight = c.start(ref, s, now)
	}
	switch {
	case !v.empty() && now.Before(s.fetched.Add(c.ttl)):
		return v, nil, nil
	case s.flight == nil && v.empty():
		return v, nil, s.failure
	}
	return v, s.flight, nil
}

// await waits for f: not for long if there is a value to use instead.
func (c *Cache) await(ctx context.Context, ref string, v Credential, f *flight) (Credential, error) {
	var enough <-chan time.Time
	if !v.empty() {
		enough = time.After(time.Until(f.began.Add(patience)))
	}
	var err error
	select {
	case <-f.done:
		if f.err == nil {
			return f.value, nil
		}
		err = f.err
	case <-enough:
		err = &Fault{ref, "the source does not answer", nil}
	case <-ctx.Done():
		err = &Fault{ref, "the source has not answered: " + ctx.Err().Error(), ctx.Err()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return Credential{}, errClosed
	}
	// Looked up again: it may have been dropped, or have ended, meanwhile.
	if v := c.usable(c.slots[ref], time.Now()); !v.empty() {
		return v, nil
	}
	return Credential{}, err
}

// usable is the value of s, or the zero Credential if it is too old, has ended or there is none.
func (c *Cache) usable(s *slot, now time.Time) Credential {
	ends := s.value.Expires()
	if now.Before(s.fetched.Add(c.maxAge)) && (ends.IsZero() || now.Before(ends)) {
		return s.value
	}
	return Credential{}
}

// due is when to ask the source again, with v being what can be used meanwhile.
func (c *Cache) due(s *slot, v Credential) time.Time {
	switch {
	case s.failure != nil && v.empty() && s.failures < slips:
		return time.Time{}
	case s.failure != nil && v.empty():
		return s.failed.Add(rest)
	case s.failure != nil:
		return s.failed.Add(min(rest<<min(s.failures-1, 10), longRest))
	case v.empty():
		return time.Time{}
	}
	life := c.ttl
	if ends := v.Expires(); !ends.IsZero() {
		life = min(life, ends.Sub(s.fetched))
	}
	return s.fetched.Add(life / 4 * 3)
}

// start asks the source, beside the caller.
func (c *Cache) start(ref string, s *slot, now time.Time) *flight {
	f := &flight{began: now, done: make(chan struct{})}
	c.fetches.Go(func() {
		ctx, cancel := context.WithTimeout(c.life, fetchTime)
		defer cancel()
		f.err = &Fault{ref, "the source did not return", nil} // if it ends its goroutine
		defer c.land(ref, s, f)
		f.value, f.err = c.fetch(ctx, ref)
	})
	return f
}

// fetch asks the source once. A source that panics has failed: nothing can be used, and the program goes on.
func (c *Cache) fetch(ctx context.Context, ref string) (v Credential, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("keybrake: the source of credentials panicked", "reference", ref, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			v, err = Credential{}, &Fault{ref, "the source panicked", nil} // with what may hold a secret
		}
	}()
	v, err = c.source.Get(ctx, ref)
	switch ends := v.Expires(); {
	case err != nil:
		return Credential{}, told(ref, err)
	case v.empty():
		return Credential{}, &Fault{ref, "the source returned an empty credential", ErrUnknown}
	case !ends.IsZero() && !time.Now().Before(ends):
		return Credential{}, &Fault{ref, "the source returned a credential that has ended", nil}
	}
	return v, nil
}

// land keeps what f brought, unless a Drop came since it began.
func (c *Cache) land(ref string, s *slot, f *flight) {
	defer close(f.done)
	c.mu.Lock()
	if s.flight != f {
		c.mu.Unlock()
		return
	}
	s.flight, s.failure = nil, f.err
	if f.err == nil {
		s.value, s.fetched, s.failures = f.value, f.began, 0
		c.mu.Unlock()
		return
	}
	s.failed = time.Now()
	s.failures++
	if errors.Is(f.err, ErrUnknown) {
		s.value = Credential{}
	}
	v, fetched := c.usable(s, s.failed), s.fetched
	again := c.due(s, v)
	c.mu.Unlock()
	if !v.empty() && c.life.Err() == nil {
		c.log.Warn("keybrake: a credential could not be fetched again; the last one is used until it is too old",
			"reference", ref, "fetched", fetched, "max_age", c.maxAge, "again", again, "error", f.err)
	}
}

// Drop forgets the credential of ref, because the vendor has refused it: the next Get asks the source, and fails if
// that fails. An answer that the source is giving meanwhile is not kept either. A second Drop within a second does
// nothing: what is there is younger than the first, and a vendor that refuses whatever it gets must not make every
// call a question to the store.
func (c *Cache) Drop(ref string) {
	if !c.drop(ref) {
		return
	}
	if s, ok := c.source.(interface{ Drop(string) }); ok {
		s.Drop(ref)
	}
}

func (c *Cache) drop(ref string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, now := c.slots[ref], time.Now()
	if s == nil || now.Before(s.dropped.Add(rest)) {
		return false
	}
	*s = slot{dropped: now}
	return true
}

// Check asks the source for every credential that it knows of, see [Check], and keeps them.
func (c *Cache) Check(ctx context.Context) error {
	if known, ok := c.source.(interface{ Refs() []string }); ok {
		return checkAll(ctx, c, known.Refs())
	}
	return told("", Check(ctx, c.source))
}

// Close ends the cache: what is being asked is cancelled, every later Get fails, and the source gives back what it
// holds at its store, if it has a method Close(ctx) error. It may be called again if it failed.
func (c *Cache) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	clear(c.slots)
	c.mu.Unlock()
	c.end()
	ended := make(chan struct{})
	go func() { c.fetches.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	if s, ok := c.source.(interface{ Close(context.Context) error }); ok {
		return s.Close(ctx)
	}
	return nil
}

var errClosed = errors.New("credentials: closed, with the brake that it served (Brake.Close)")
