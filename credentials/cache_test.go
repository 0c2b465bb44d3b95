package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
)

// A vault counts how often it is asked and answers with the count; it can fail, and take its time.
type vault struct {
	mu    sync.Mutex
	asked int
	err   error
	takes time.Duration
}

func (v *vault) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	v.mu.Lock()
	v.asked++
	answer, err, takes := fmt.Sprintf("%s-%d", ref, v.asked), v.err, v.takes
	v.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return credentials.Credential{}, ctx.Err()
		}
	}
	return credentials.New(answer), err
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

func TestCacheKeepsForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := credentials.NewCache(v, time.Minute)
		for after, want := range []string{"a-1", "a-1", "a-2", "a-2", "a-3"} {
			if got := get(t, c, "a"); got != want {
				t.Errorf("after %d × 30 s: got %s, want %s", after, got, want)
			}
			time.Sleep(30 * time.Second) // the bubble's clock
		}
	})
}

func TestCacheKeepsReferencesApart(t *testing.T) {
	c := credentials.NewCache(&vault{}, time.Hour)
	if a, b, again := get(t, c, "a"), get(t, c, "b"), get(t, c, "a"); a != "a-1" || b != "b-2" || again != "a-1" {
		t.Errorf("got %s %s %s", a, b, again)
	}
	c.Drop("b")
	if a, b := get(t, c, "a"), get(t, c, "b"); a != "a-1" || b != "b-3" {
		t.Errorf("after Drop: got %s %s", a, b)
	}
}

// What is in the cache costs no waiting, so it is there for a caller whose time is up.
func TestCacheHitNeedsNoTime(t *testing.T) {
	c := credentials.NewCache(&vault{}, time.Hour)
	get(t, c, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if _, err := c.Get(ctx, "a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCacheWithoutTime(t *testing.T) {
	c := credentials.NewCache(&vault{}, 0)
	if a, b := get(t, c, "a"), get(t, c, "a"); a != "a-1" || b != "a-2" {
		t.Errorf("got %s %s", a, b)
	}
}

func TestCacheKeepsNoErrors(t *testing.T) {
	down := errors.New("down")
	v := &vault{err: down}
	c := credentials.NewCache(v, time.Hour)
	for range 2 {
		if _, err := refused(t, c, "a"); !errors.Is(err, down) {
			t.Errorf("got %v", err)
		}
	}
	v.err = nil
	if got := get(t, c, "a"); got != "a-3" {
		t.Errorf("got %s", got)
	}
}

func TestCacheAsksOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{takes: time.Second}
		c := credentials.NewCache(v, time.Minute)
		start := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got := get(t, c, "a"); got != "a-1" {
					t.Errorf("got %s", got)
				}
			})
		}
		wg.Wait()
		if v.count() != 1 || time.Since(start) != time.Second {
			t.Errorf("asked %d times in %v", v.count(), time.Since(start))
		}
	})
}

// One reference that is slow does not hold up another, and a waiter does not wait beyond its own deadline.
func TestCacheWaitersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{takes: time.Hour}
		c := credentials.NewCache(v, time.Minute)
		hanging, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = c.Get(hanging, "slow") })
		synctest.Wait()
		for _, ref := range []string{"slow", "other"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			if _, err := c.Get(ctx, ref); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%s: %v after %v", ref, err, time.Since(start))
			}
			cancel()
		}
		if v.count() != 2 {
			t.Errorf("asked %d times", v.count())
		}
		stop()
		wg.Wait()
		v.takes = 0
		if got := get(t, c, "slow"); got != "slow-3" {
			t.Errorf("after the hang: got %s", got)
		}
	})
}

// An answer from before Drop is not kept: it may be the very credential that the vendor has just refused.
func TestDropDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{takes: time.Second}
		c := credentials.NewCache(v, time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { get(t, c, "a") })
		synctest.Wait()
		start := time.Now()
		c.Drop("a")
		if time.Since(start) != 0 {
			t.Error("Drop waited for the source")
		}
		wg.Wait()
		if got := get(t, c, "a"); got != "a-2" {
			t.Errorf("got %s", got)
		}
	})
}

func TestCacheRefusesEmptyCredentials(t *testing.T) {
	for name, empty := range map[string]credentials.Credential{"zero": {}, "no parts": credentials.New(), "empty parts": credentials.New("", "")} {
		c := credentials.NewCache(credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) { return empty, nil }), time.Hour)
		if _, err := refused(t, c, "a"); !errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCacheSurvivesAPanic(t *testing.T) {
	once := true
	c := credentials.NewCache(credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
		if once {
			once = false
			panic("down")
		}
		return credentials.New("v"), nil
	}), time.Hour)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Get(t.Context(), "a")
	}()
	if got := get(t, c, "a"); got != "v" {
		t.Errorf("got %s", got)
	}
}

func TestCacheCheck(t *testing.T) {
	if credentials.Check(t.Context(), credentials.NewCache(nil, time.Hour)) == nil {
		t.Error("a cache of nothing passes")
	}
	refused(t, credentials.NewCache(nil, time.Hour), "a")
	if credentials.Check(t.Context(), credentials.NewCache(credentials.Static(map[string]string{"a": ""}), time.Hour)) == nil {
		t.Error("the source was not asked")
	}
	if err := credentials.Check(t.Context(), credentials.NewCache(&vault{}, time.Hour)); err != nil {
		t.Error(err)
	}
}
