package redisledger_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

func leased(t testing.TB, l ledger.Leaser, holder string, d time.Duration, want bool) {
	t.Helper()
	got, err := l.Lease(ctx, acme, "job", holder, d)
	must(t, err)
	if got != want {
		t.Errorf("%s is told %t, want %t", holder, got, want)
	}
}

// The clock is the server's, one for all processes.
func TestALeaseAndATextEndByTheServersClock(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	one, two := made(t, rdb, nil), made(t, rdb, nil)
	leased(t, one, "a", time.Hour, true)
	leased(t, two, "b", time.Hour, false)
	must(t, one.Keep(ctx, acme, "answer", []byte("yes"), time.Hour))
	for _, key := range []string{"kb:{acme}:l:job", "kb:{acme}:t:answer"} {
		if left := rdb.PTTL(ctx, key).Val(); left <= 59*time.Minute || left > time.Hour+time.Minute {
			t.Errorf("%s expires in %s", key, left)
		}
	}
	leased(t, one, "a", 20*time.Millisecond, true)
	must(t, one.Keep(ctx, acme, "answer", []byte("yes"), 20*time.Millisecond))
	until(t, "the lease ends", func() bool {
		got, err := two.Lease(ctx, acme, "job", "b", time.Hour)
		must(t, err)
		return got
	})
	until(t, "the text goes", func() bool {
		text, err := two.Kept(ctx, acme, "answer")
		must(t, err)
		return text == nil
	})
	leased(t, one, "a", time.Hour, false)
	until(t, "no text is left in Redis", func() bool { return rdb.Exists(ctx, "kb:{acme}:t:answer").Val() == 0 })
	leased(t, two, "b", 0, true)
	if keys := rdb.Keys(ctx, "*").Val(); len(keys) != 0 {
		t.Errorf("there is still %q", keys)
	}
}

// What cannot be read is nobody's, and never somebody else's.
func TestADamagedLeaseIsGivenToNobody(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := made(t, rdb, nil)
	for _, text := range []string{"", "a", "12", "12 ", "x a", "-1 a"} {
		must(t, rdb.Set(ctx, "kb:{acme}:l:job", text, 0).Err())
		if got, err := l.Lease(ctx, acme, "job", "a", time.Hour); got || err == nil {
			t.Errorf("of %q: %t, %v", text, got, err)
		}
		must(t, rdb.Set(ctx, "kb:{acme}:t:answer", text, 0).Err())
		if text == "12 " {
			continue // an empty text of long ago
		}
		if got, err := l.Kept(ctx, acme, "answer"); got != nil || err == nil {
			t.Errorf("of text %q: %q, %v", text, got, err)
		}
	}
	must(t, rdb.Del(ctx, "kb:{acme}:l:job").Err())
	must(t, rdb.RPush(ctx, "kb:{acme}:l:job", "a").Err())
	if got, err := l.Lease(ctx, acme, "job", "a", time.Hour); got || err == nil {
		t.Errorf("of a list: %t, %v", got, err)
	}
}

// They are no books: they go on while a tenant is frozen, and nothing is noticed when they are lost.
func TestLeasesAndTextsAreNoBooks(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	before := rdb.HGetAll(ctx, "kb:{acme}:m").Val()
	leased(t, l, "a", time.Hour, true)
	must(t, l.Keep(ctx, acme, "answer", []byte("yes"), time.Hour))
	if after := rdb.HGetAll(ctx, "kb:{acme}:m").Val(); len(after) != len(before) || after["seq"] != before["seq"] {
		t.Errorf("the meta row was %v and is %v", before, after)
	}
	must(t, rdb.Del(ctx, "kb:{acme}:l:job", "kb:{acme}:t:answer").Err())
	admit(t, l, pay(1))
	must(t, rdb.HSet(ctx, "kb:{acme}:m", "frozen", "a test").Err())
	leased(t, l, "b", time.Hour, true)
	must(t, l.Keep(ctx, acme, "answer", bytes.Repeat([]byte{0xff}, ledger.MostKept), time.Hour))
	stands(t, l, 0, 1)
}

func TestLeasesAndTextsEndWithTheTimeout(t *testing.T) {
	server := redistest.Serve(t)
	l := made(t, brief(t, server.Addr()), &redisledger.Options{Timeout: 100 * time.Millisecond})
	must(t, server.Pause())
	defer func() { must(t, server.Continue()) }()
	if got, err := l.Lease(ctx, acme, "job", "a", time.Hour); got || err == nil {
		t.Errorf("lease: %t, %v", got, err)
	}
	if err := l.Keep(ctx, acme, "answer", nil, time.Hour); err == nil {
		t.Error("a text was kept")
	}
	if text, err := l.Kept(ctx, acme, "answer"); text != nil || err == nil {
		t.Errorf("kept: %q, %v", text, err)
	}
}
