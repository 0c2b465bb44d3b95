package redisledger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
)

func TestNoTwoTenantsShareATag(t *testing.T) {
	names := []string{"", "%", "*", "acme", "Acme", "acme}", "{acme}", "a:b", "a%3Ab", "ä", "a b", "a\x00b", "t.a-b_c"}
	seen := map[string]string{}
	for _, n := range names {
		got := tag(n)
		if got == "" || strings.ContainsAny(got, "{}:* ") {
			t.Errorf("tenant %q has tag %q", n, got)
		}
		if other, taken := seen[got]; taken {
			t.Errorf("tenants %q and %q share tag %q", n, other, got)
		}
		seen[got] = n
	}
}

func TestNoTwoBudgetsShareACounter(t *testing.T) {
	seen := map[string]ledger.Entry{}
	layouts := map[string]ledger.Entry{}
	for _, name := range []string{"a", "b", "ab", "?a", "=a", "?", "=?a", "@1:ba", "1:ba", "ba", "@", "@1:b?a", "?@1:ba"} {
		for _, of := range []string{"", "b", "1:b", "ba", "?"} {
			for _, observed := range []bool{false, true} {
				e := ledger.Entry{Budget: name, Of: of, Observed: observed}
				if other, taken := seen[counter(e)]; taken {
					t.Errorf("%+v and %+v share %q", e, other, counter(e))
				}
				seen[counter(e)] = e
				shared := ledger.Entry{Budget: name, Shared: true, Observed: observed}
				for _, e := range []ledger.Entry{e, shared} {
					text := layout([]ledger.Entry{e})
					if other, taken := layouts[text]; taken && other != e {
						t.Errorf("%+v and %+v are laid out as %q", e, other, text)
					}
					layouts[text] = e
				}
			}
		}
	}
}

func TestAnUnknownReplyIsAnError(t *testing.T) {
	for _, v := range []any{nil, "ok", int64(1), []any{}, []any{int64(1)}, []any{"ok", nil}, []any{"ok", []any{"x"}}} {
		if r, err := decode(v, nil); err == nil {
			t.Errorf("%v was taken for %+v", v, r)
		}
	}
	if _, err := decode(nil, errors.New("down")); err == nil {
		t.Error("an error was swallowed")
	}
	for _, words := range [][]string{{}, {"x"}, {"-1"}, {"1", "2", "3", "4", "5", "6"}, {"2", "1", "1", "1", "1", "1", "1"}, {"1", "1", "1", "1", "1", "1", "nan"}, {"9223372036854775807"}} {
		r := &reply{status: "ok", rest: words}
		if r.windows(); r.err() == nil {
			t.Errorf("%v was taken for windows", words)
		}
	}
	r := &reply{status: "fine"}
	if r.expect("ok") == nil || (&Ledger{}).again(context.Background(), &plan{}, r) == nil {
		t.Error("an unknown status was taken")
	}
}

func TestADamagedRecordIsNeverTakenForAnEmptyOne(t *testing.T) {
	good := map[string]string{"p": "in_flight", "n": "n", "d": "5", "v": "1", "f": `{"op":"a.b","b":[{"m":"fee","w":"day","l":"7"}]}`, "e": "1 2 3 0 0 0;"}
	if r, err := unpack("t", "id", good); err != nil || len(r.Entries) != 1 || r.Entries[0].Held != 3 || r.parts[0].Of.Limit != 7 {
		t.Fatalf("%+v, %v", r, err)
	}
	for field, value := range map[string]string{"d": "x", "f": "{", "e": ""} {
		bad := map[string]string{}
		for k, v := range good {
			bad[k] = v
		}
		bad[field] = value
		if r, err := unpack("t", "id", bad); err == nil {
			t.Errorf("field %s = %q was taken for %+v", field, value, r)
		}
	}
}

// go-redis sends a command again when a reply is lost, and by then another process may have spoken.
func TestAControlSentAgainDoesNotUndoALaterOne(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer rdb.Close()
	l, ctx := New(rdb, nil), context.Background()
	if err := l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k"}); err != nil {
		t.Fatal(err)
	}
	for _, global := range []bool{false, true} {
		resume := controlArgs{Name: "all", Verb: "resume", Nonce: nonce(), Global: global}
		pause := controlArgs{Name: "all", Verb: "pause", Nonce: nonce(), Global: global}
		at := tenant("acme").controls()
		if global {
			at = globalControls
		}
		var versions []string
		for _, a := range []controlArgs{resume, pause, resume} {
			v, err := l.control(ctx, at, at, a)
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, v)
		}
		if verb := rdb.HGet(ctx, at, "c:all").Val(); verb != "pause" {
			t.Errorf("global %t: the verb is %q after a resume that was sent again", global, verb)
		}
		if global && (versions[0] != versions[2] || versions[0] == versions[1]) {
			t.Errorf("versions %v: the resume must keep its own", versions)
		}
	}
}

// A budget's revision sent again after another's changes nothing either.
func TestABudgetSentAgainDoesNotUndoALaterOne(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer rdb.Close()
	l, ctx := New(rdb, nil), context.Background()
	b := ledger.Budget{Name: "b", Meter: "calls", Window: "day"}
	key := tenant("acme").budget("b")
	first := budgetArgs{Spec: encode(b), Limit: "100", Rev: nonce()}
	second := budgetArgs{Spec: encode(b), Limit: "5", Rev: nonce()}
	for _, a := range []budgetArgs{first, second, first} {
		if _, err := l.run(ctx, setBudgetScript, []string{key}, a); err != nil {
			t.Fatal(err)
		}
	}
	if limit := rdb.HGet(ctx, key, "limit").Val(); limit != "5" {
		t.Errorf("the limit is %s after the first revision was sent again", limit)
	}
}

// The windows are proposed by this process and its clock may be wrong; the server's decides.
func TestTheServersClockDecidesTheWindow(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer rdb.Close()
	ctx := context.Background()
	for _, wrong := range []time.Duration{-72 * time.Hour, 72 * time.Hour} {
		l := New(rdb, nil)
		if err := l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k"}); err != nil {
			t.Fatal(err)
		}
		l.ahead.Store(wrong.Microseconds())
		day := ledger.Budget{Name: "day", Meter: "calls", Window: "day", Limit: 10}
		now, err := rdb.Time(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		h, err := l.Reserve(ctx, ledger.Request{Tenant: "acme", ID: wrong.String(), Nonce: "n", Key: "k", Expires: now.Add(time.Hour),
			Operation: "a.b", Lines: []cost.Line{{Meter: cost.Calls, Amount: 1}}, Budgets: []ledger.Budget{day}, Deadline: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if start := h.States[0].Start; now.Sub(start) < -time.Minute || now.Sub(start) > 24*time.Hour+time.Minute || h.States[0].Reset.Sub(start) != 24*time.Hour {
			t.Errorf("a clock that is wrong by %s: the window starts at %s, the server's clock shows %s", wrong, start, now)
		}
		l.ahead.Store(wrong.Microseconds())
		states, err := l.Balance(ctx, "acme", "k", []ledger.Budget{day})
		if err != nil || states[0].Spent == 0 || !states[0].Start.Equal(h.States[0].Start) {
			t.Errorf("a clock that is wrong by %s: balance %+v, %v", wrong, states, err)
		}
		if ahead := time.Duration(l.ahead.Load()) * time.Microsecond; ahead.Abs() > time.Minute {
			t.Errorf("the ledger still thinks that the server is %s ahead", ahead)
		}
	}
}

func TestANumberIsTakenOnce(t *testing.T) {
	var s numbers
	for _, c := range []struct {
		n    int64
		want bool
	}{
		{1, true}, {3, true}, {2, true}, {2, false}, {3, false}, {1000, true}, {1024, true}, {1, false}, {1025, true}, {1, true}, // forgotten
		{2, false}, {5000, true}, {4500, true}, {4500, false}, {1024, true}, {5000, false}, {5001, true},
	} {
		if got := s.take(c.n); got != c.want {
			t.Errorf("%d: %t", c.n, got)
		}
	}
}

// A reply may come late, from before a re-arm or from a store that has lost its epoch.
func TestAReplyOfAnotherEpochIsBelievedOnlyWithProof(t *testing.T) {
	w := &watch{name: "p"}
	tell := func(sent carried, words ...string) error {
		return w.told(sent, &reply{status: "ok", rest: append([]string{"x"}, words...)})
	}
	first := w.carry()
	steps := []struct {
		sent  carried
		words []string
		want  string
		seq   int64
	}{
		{first, []string{"E1", "7", "1", "7", "w"}, "E1", 7},
		{first, []string{"E1", "5", "0", "0", ""}, "E1", 7}, // late
		{first, []string{"E0", "99", "9", "9", ""}, "E1", 7},
		{carried{name: "p", epoch: "E1"}, []string{"E0", "99", "9", "9", ""}, "E1", 7},
		{carried{name: "p", epoch: "E1"}, []string{"", "99", "9", "9", "w"}, "E1", 7},
		{carried{name: "p", epoch: "E1"}, []string{"E2", "3", "2", "2", "e"}, "E2", 3},
		{carried{name: "p", epoch: "E1"}, []string{"E1", "50", "20", "50", "w"}, "E2", 3},
		{carried{name: "p", epoch: "E0"}, []string{"E3", "50", "20", "50", "e"}, "E2", 3},
	}
	for i, s := range steps {
		if err := tell(s.sent, s.words...); err != nil || w.epoch != s.want || w.seq != s.seq {
			t.Errorf("step %d: epoch %s, seq %d, error %v", i, w.epoch, w.seq, err)
		}
	}
	if err := tell(carried{name: "p", epoch: "E2"}, "E2", "5", "2", "2", "d"); err != nil || w.name == "p" || w.count != 0 {
		t.Errorf("a process that was dropped goes on as %s with %d writes, error %v", w.name, w.count, err)
	}
	if name := w.name; tell(carried{name: "p", epoch: "E2"}, "E2", "6", "9", "6", "w") != nil || w.name != name || w.count != 0 {
		t.Errorf("the reply to an earlier name changed %s and its count to %d", w.name, w.count)
	}
	if err := tell(carried{name: "p", epoch: "E2"}, "E2", "4"); err == nil {
		t.Error("a short reply was taken")
	}
}
