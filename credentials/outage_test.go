package credentials_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
)

var errDown = errors.New("down")

// quiet is a cache that does not log.
func quiet(s credentials.Source, ttl time.Duration) *credentials.Cache {
	return credentials.NewCache(s, ttl, &credentials.CacheOptions{Log: slog.New(slog.DiscardHandler)})
}

// A busy brake never waits for the store: the next credential is fetched beside the calls, before it is needed, whatever
// it is that ends the time of the one that is there.
func TestFetchedAhead(t *testing.T) {
	for name, tt := range map[string]struct {
		ttl, lends, maxAge time.Duration
	}{
		"the time to live":    {time.Minute, 0, time.Hour},
		"the credential ends": {5 * time.Minute, 55500 * time.Millisecond, time.Hour},
		"the greatest age":    {5 * time.Minute, 0, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := &vault{takes: 4500 * time.Millisecond, lends: tt.lends}
			c := credentials.NewCache(v, tt.ttl, &credentials.CacheOptions{MaxAge: tt.maxAge})
			get(t, c, "a")
			start := time.Now()
			var got []string
			for range 60 {
				got = append(got, get(t, c, "a"))
				time.Sleep(time.Second)
			}
			if spent := time.Since(start); spent != time.Minute {
				t.Errorf("%s: the calls waited for %v", name, spent-time.Minute)
			}
			// A call a second from 4.5 s on, when the first answer is there. Asked at 0 s; again by the call at 45.5 s, which is
			// answered at 50 s.
			want := strings.Fields(strings.Repeat("a-1 ", 46) + strings.Repeat("a-2 ", 14))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: got %v", name, got)
			}
			if v.count() != 2 {
				t.Errorf("%s: asked %d times", name, v.count())
			}
		})
	}
}

// While the store is out, calls go on with the last credential until it is an hour old, and not for longer. The store
// is asked at most every thirty seconds, however many calls there are, and the log says what happens without a secret.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, log := false, &bytes.Buffer{}
		asked := 0
		c := credentials.NewCache(credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
			if asked++; out {
				return credentials.New(secret), errDown
			}
			return credentials.New(secret), nil
		}), 5*time.Minute, &credentials.CacheOptions{Log: slog.New(slog.NewTextHandler(log, nil))})
		get(t, c, "a")
		out, asked = true, 0
		for range 60 * 60 {
			for range 10 {
				if got := get(t, c, "a"); got != secret {
					t.Fatalf("got %q", got)
				}
			}
			time.Sleep(time.Second)
		}
		if _, err := refused(t, c, "a"); !errors.Is(err, errDown) {
			t.Errorf("after an hour: %v", err)
		}
		if asked < 100 || asked > 130 { // 225 s after the fetch, then 1, 2, 4, 8, 16 and every 30 s
			t.Errorf("asked %d times in an hour", asked)
		}
		if n := strings.Count(log.String(), "could not be fetched again"); n != asked-1 && n != asked || leaks(log.String()) || !strings.Contains(log.String(), "reference=a") {
			t.Errorf("asked %d times, %d warnings, of which the first: %.300s", asked, n, log)
		}
		out = false
		time.Sleep(time.Second)
		if got := get(t, c, "a"); got != secret {
			t.Errorf("the store is back: got %q", got)
		}
	})
}

// When the store is back, so is the current credential, within thirty seconds.
func TestOutageEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		v.is(errDown, 0)
		for range 20 * 60 {
			if got := get(t, c, "a"); got != "a-1" {
				t.Fatalf("got %s", got)
			}
			time.Sleep(time.Second)
		}
		v.is(nil, 0)
		time.Sleep(30 * time.Second)
		if got := get(t, c, "a"); got == "a-1" {
			t.Error("the old credential is still used")
		}
		// The next outage is a new one: the store is asked again soon.
		last := get(t, c, "a")
		v.is(errDown, 0)
		time.Sleep(time.Minute)
		get(t, c, "a")
		v.is(nil, 0)
		time.Sleep(time.Second)
		if got := get(t, c, "a"); got == last {
			t.Error("after the second outage the old credential is still used")
		}
	})
}

// A store that hangs holds a call up for a second at most, and not each of them.
func TestHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		time.Sleep(2 * time.Minute)
		v.is(nil, time.Hour)
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got := get(t, c, "a"); got != "a-1" {
					t.Errorf("got %s", got)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the first calls took %v", took)
		}
		start = time.Now()
		for range 100 {
			get(t, c, "a")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("later calls took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(ctx, "a"); err != nil {
			t.Errorf("a call whose time is up: %v", err)
		}
		_ = c.Close(t.Context())
	})
}

// MaxAge holds even where it is shorter than the time to live.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := credentials.NewCache(v, 5*time.Minute, &credentials.CacheOptions{MaxAge: time.Minute, Log: slog.New(slog.DiscardHandler)})
		get(t, c, "a")
		v.is(errDown, 0)
		time.Sleep(time.Minute - 1)
		if got := get(t, c, "a"); got != "a-1" {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Nanosecond)
		refused(t, c, "a")
	})
}

// A credential that ends is renewed before, and is never used at its end or later, outage or not.
func TestCredentialThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lends: 40 * time.Second}
		c := credentials.NewCache(v, 5*time.Minute, nil)
		for i, want := range []string{"a-1", "a-1", "a-1", "a-1", "a-2", "a-2", "a-2"} { // every 10 s, asked at 30 s
			if got := get(t, c, "a"); got != want {
				t.Errorf("after %d s: got %s, want %s", 10*i, got, want)
			}
			time.Sleep(10 * time.Second)
		}
		v.is(errDown, 0)
		for range 2 {
			time.Sleep(time.Minute)
			if _, err := refused(t, c, "a"); !errors.Is(err, errDown) {
				t.Error(err)
			}
		}
	})
}

// What ends during an outage is used to its end and not a nanosecond longer.
func TestEndDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lends: 10 * time.Minute}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		v.is(errDown, 0)
		time.Sleep(10*time.Minute - 1)
		if got := get(t, c, "a"); got != "a-1" {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Nanosecond)
		refused(t, c, "a")
	})
}

// A source that answers with a credential whose time is over has not answered.
func TestCredentialThatHasEnded(t *testing.T) {
	c := credentials.NewCache(credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
		return credentials.New(secret).Until(time.Now()), nil
	}), time.Hour, nil)
	refused(t, c, "a")
}

// A credential that its store no longer has is not used on: somebody deleted it.
func TestDeletedAtTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		v.is(fmt.Errorf("%w %q", credentials.ErrUnknown, "a"), 0)
		time.Sleep(time.Minute)
		if _, err := refused(t, c, "a"); !errors.Is(err, credentials.ErrUnknown) {
			t.Error(err)
		}
		v.is(errDown, 0) // nor when the store is out afterwards
		time.Sleep(time.Minute)
		refused(t, c, "a")
	})
}

// What the vendor has refused is not used again, even if the store is out: it may have been revoked.
func TestDropDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		v.is(errDown, 0)
		c.Drop("a")
		refused(t, c, "a")
		time.Sleep(time.Minute)
		refused(t, c, "a")
		v.is(nil, 0)
		time.Sleep(time.Second)
		if got := get(t, c, "a"); got == "a-1" {
			t.Error("the refused credential is back")
		}
	})
}

// dropped is a source that is told of drops.
type dropped struct {
	*vault
	drops []string
}

func (d *dropped) Drop(ref string) { d.drops = append(d.drops, ref) }

// A vendor that answers 401 whatever it gets makes one question a second to the store, not one a call. The source is
// told, so that it does not give the same from its own memory.
func TestDropsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &dropped{vault: &vault{}}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		for range 10 {
			for range 1000 {
				get(t, c, "a")
				c.Drop("a")
			}
			time.Sleep(time.Second)
		}
		if v.count() != 11 || len(v.drops) != 10 || v.drops[0] != "a" {
			t.Errorf("asked %d times, told of %d", v.count(), len(v.drops))
		}
	})
}

// known is a source that can name its references.
type known struct {
	*vault
	refs []string
}

func (k known) Refs() []string { return k.refs }

// What Check has fetched is there for the first call. A store that takes its time is asked for all at once.
func TestCheckKeepsWhatItFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{takes: 6 * time.Second}
		c := quiet(known{v, []string{"a", "b"}}, time.Minute)
		start := time.Now()
		if err := c.Check(t.Context()); err != nil || time.Since(start) != 6*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if get(t, c, "a"); time.Since(start) != 6*time.Second {
			t.Error("the first call waited")
		}
		if get(t, c, "b"); v.count() != 2 {
			t.Errorf("asked %d times", v.count())
		}
		v.is(errDown, 0)
		c = quiet(known{v, []string{"a", "b"}}, time.Minute)
		if err := c.Check(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
	})
}

// What is asked knows nothing of the call that asked first: its httptrace would see the store's own token, and its
// end would be the end of the fetch for all others.
func TestFetchIsNobodysCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		c := credentials.NewCache(credentials.SourceFunc(func(ctx context.Context, _ string) (credentials.Credential, error) {
			time.Sleep(time.Second)
			if ctx.Value(key{}) != nil {
				t.Error("the source sees the caller's context")
			}
			return credentials.New("v"), ctx.Err()
		}), time.Minute, nil)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "trace"), time.Millisecond)
		defer cancel()
		if _, err := c.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if _, err := c.Get(ctx, "a"); err != nil {
			t.Errorf("the answer was lost: %v", err)
		}
	})
}

// closes is a source that holds something.
type closes struct {
	*vault
	err    error
	closed int
}

func (c *closes) Close(context.Context) error {
	c.closed++
	return c.err
}

// After Close there is no credential, from memory or from the source, and the source has been told, once nothing is
// being asked any more.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &closes{vault: &vault{}, err: errDown}
		c := quiet(v, time.Minute)
		get(t, c, "a")
		v.is(nil, time.Hour)
		var wg sync.WaitGroup
		wg.Go(func() { refused(t, c, "b") })
		synctest.Wait()
		start := time.Now()
		if err := c.Close(t.Context()); !errors.Is(err, errDown) || v.closed != 1 {
			t.Errorf("got %v, closed %d times", err, v.closed)
		}
		wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("what was being asked went on for %v", took)
		}
		for _, ref := range []string{"a", "b", "c"} {
			if text, _ := refused(t, c, ref); text != "credentials: closed, with the brake that it served (Brake.Close)" {
				t.Error(text)
			}
		}
		if v.count() != 2 {
			t.Errorf("asked %d times", v.count())
		}
		v.err = nil
		if err := c.Close(t.Context()); err != nil || v.closed != 2 {
			t.Errorf("again: %v, closed %d times", err, v.closed)
		}
		c.Drop("a")
		if err := quiet(&vault{}, time.Minute).Close(t.Context()); err != nil {
			t.Errorf("a source that holds nothing: %v", err)
		}
	})
}
