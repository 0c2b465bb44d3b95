package credentials_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
)

// A vault counts how often it is asked and answers with the count; it can fail, take its time, and lend for a while.
type vault struct {
	mu    sync.Mutex
	asked int
	err   error
	takes time.Duration
	lends time.Duration
}

func (v *vault) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	v.mu.Lock()
	v.asked++
	answer, err, takes, lends := credentials.New(fmt.Sprintf("%s-%d", ref, v.asked)), v.err, v.takes, v.lends
	v.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return credentials.Credential{}, ctx.Err()
		}
	}
	if lends > 0 {
		answer = answer.Until(time.Now().Add(lends))
	}
	return answer, err
}

// is sets how the vault is from now on.
func (v *vault) is(err error, takes time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err, v.takes = err, takes
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

func TestCacheKeepsForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := credentials.NewCache(v, time.Minute, nil)
		for after, want := range []string{"a-1", "a-1", "a-2", "a-2", "a-3"} {
			if got := get(t, c, "a"); got != want {
				t.Errorf("after %d × 30 s: got %s, want %s", after, got, want)
			}
			time.Sleep(30 * time.Second) // the bubble's clock
		}
	})
}

func TestCacheKeepsReferencesApart(t *testing.T) {
	c := credentials.NewCache(&vault{}, time.Hour, nil)
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
	c := credentials.NewCache(&vault{}, time.Hour, nil)
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
	c := credentials.NewCache(&vault{}, 0, nil)
	if a, b := get(t, c, "a"), get(t, c, "a"); a != "a-1" || b != "a-2" {
		t.Errorf("got %s %s", a, b)
	}
}

// A slip is put right and tried again at once, but calls that come by the thousand do not each ask a source that fails.
func TestCacheKeepsAnErrorForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		v := &vault{err: down}
		c := credentials.NewCache(v, time.Hour, nil)
		for range 1000 {
			if _, err := refused(t, c, "a"); !errors.Is(err, down) {
				t.Fatalf("got %v", err)
			}
		}
		v.is(nil, 0)
		time.Sleep(time.Second - 1)
		refused(t, c, "a")
		time.Sleep(time.Nanosecond)
		if got := get(t, c, "a"); got != "a-4" {
			t.Errorf("got %s", got)
		}
		v.is(down, 0)
		c.Drop("a")
		refused(t, c, "a")
		v.is(nil, 0)
		if got := get(t, c, "a"); got != "a-6" {
			t.Errorf("after one failure: got %s", got)
		}
	})
}

func TestCacheAsksOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{takes: time.Second}
		c := credentials.NewCache(v, time.Minute, nil)
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
		c := credentials.NewCache(v, time.Minute, nil)
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
		v.is(nil, 0)
		time.Sleep(10 * time.Second) // the source has had its time, and is asked again
		if got := get(t, c, "slow"); got != "slow-3" {
			t.Errorf("after the hang: got %s", got)
		}
	})
}

// An answer from before Drop is not kept: it may be the very credential that the vendor has just refused.
func TestDropDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{takes: time.Second}
		c := credentials.NewCache(v, time.Minute, nil)
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
		c := credentials.NewCache(credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) { return empty, nil }), time.Hour, nil)
		if _, err := refused(t, c, "a"); !errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A source that panics, or ends its goroutine, has failed: nobody waits for it and nothing is told of what it said.
func TestCacheSurvivesAPanic(t *testing.T) {
	for name, fails := range map[string]func(){"panic": func() { panic(secret) }, "exit": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			fail, log := true, &bytes.Buffer{}
			c := credentials.NewCache(credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
				if fail {
					fails()
				}
				return credentials.New("v"), nil
			}), time.Hour, &credentials.CacheOptions{Log: slog.New(slog.NewTextHandler(log, nil))})
			refused(t, c, "a")
			if leaks(log.String()) {
				t.Errorf("%s: the log shows the secret: %s", name, log)
			}
			fail = false
			time.Sleep(time.Second)
			if got := get(t, c, "a"); got != "v" {
				t.Errorf("%s: got %s", name, got)
			}
		})
	}
}

func TestCacheCheck(t *testing.T) {
	if credentials.Check(t.Context(), credentials.NewCache(nil, time.Hour, nil)) == nil {
		t.Error("a cache of nothing passes")
	}
	refused(t, credentials.NewCache(nil, time.Hour, nil), "a")
	if credentials.Check(t.Context(), credentials.NewCache(credentials.Static(map[string]string{"a": ""}), time.Hour, nil)) == nil {
		t.Error("the source was not asked")
	}
	if err := credentials.Check(t.Context(), credentials.NewCache(&vault{}, time.Hour, nil)); err != nil {
		t.Error(err)
	}
}
