package respproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/internal/respproxy"
)

// A world is a server, a client that goes to it directly and a proxy in front of it.
type world struct {
	*respproxy.Proxy
	direct *redis.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	addr := redistest.Start(t)
	p, err := respproxy.Start(addr, nil)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	w := &world{Proxy: p}
	w.direct = w.client(t, &redis.Options{Addr: addr})
	return w
}

// client is a client of the proxy unless o says otherwise, which sends nothing twice.
func (w *world) client(t *testing.T, o *redis.Options) *redis.Client {
	t.Helper()
	if o.Addr == "" {
		o.Addr = w.Addr()
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = -1
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stands expects n to have been counted so often.
func (w *world) stands(t *testing.T, want string) {
	t.Helper()
	if got, err := w.direct.Get(t.Context(), "n").Result(); got != want && (want != "" || !errors.Is(err, redis.Nil)) {
		t.Errorf("n is %q (%v), want %q", got, err, want)
	}
}

// once hits the first command of that name.
func once(name string, f respproxy.Fault) respproxy.Schedule {
	done := false
	return func(c respproxy.Command) respproxy.Fault {
		if done || c.Name != name {
			return respproxy.Fault{}
		}
		done = true
		return f
	}
}

// In a pipeline of five the third is hit: what has come before has its reply, what was executed is exactly what the
// kind says, and the count of faults is right.
func TestAFaultHitsOneCommandOfAPipeline(t *testing.T) {
	for _, c := range []struct {
		kind     respproxy.Kind
		executed string // of the five
		replies  string // ok, the error's first word, or lost
	}{
		{"", "5", "ok ok ok ok ok"},
		{respproxy.DropBefore, "2", "ok ok lost lost lost"},
		{respproxy.DropAfter, "3", "ok ok lost lost lost"},
		{respproxy.DelayRequest, "5", "ok ok ok ok ok"},
		{respproxy.DelayReply, "5", "ok ok ok ok ok"},
		{respproxy.ReadOnly, "4", "ok ok READONLY ok ok"},
		{respproxy.Loading, "4", "ok ok LOADING ok ok"},
		{respproxy.OOM, "4", "ok ok OOM ok ok"},
		{respproxy.NoScript, "4", "ok ok NOSCRIPT ok ok"},
		{respproxy.Busy, "4", "ok ok BUSY ok ok"},
		{respproxy.Moved, "4", "ok ok MOVED ok ok"},
		{respproxy.Ask, "4", "ok ok ASK ok ok"},
	} {
		for _, protocol := range []int{2, 3} {
			t.Run(fmt.Sprintf("%s in RESP%d", c.kind, protocol), func(t *testing.T) {
				w := newWorld(t)
				rdb := w.client(t, &redis.Options{Protocol: protocol})
				n := 0
				w.Plan(func(cmd respproxy.Command) respproxy.Fault {
					if cmd.Name == "INCR" {
						n++
					}
					if n != 3 || cmd.Name != "INCR" {
						return respproxy.Fault{}
					}
					return respproxy.Fault{Kind: c.kind, Delay: time.Millisecond}
				})
				cmds, _ := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
					for range 5 {
						p.Incr(t.Context(), "n")
					}
					return nil
				})
				var replies []string
				for _, cmd := range cmds {
					switch err := cmd.Err(); {
					case err == nil:
						replies = append(replies, "ok")
					case errors.As(err, new(redis.Error)):
						replies = append(replies, strings.Fields(err.Error())[0])
					default:
						replies = append(replies, "lost")
					}
				}
				if got := strings.Join(replies, " "); got != c.replies {
					t.Errorf("got %q, want %q", got, c.replies)
				}
				w.stands(t, c.executed)
				want := map[respproxy.Kind]int{}
				if c.kind != "" {
					want[c.kind] = 1
				}
				if got := w.Counts(); !reflect.DeepEqual(got, want) || w.Injected() != len(want) {
					t.Errorf("counted %v, want %v", got, want)
				}
			})
		}
	}
}

// A delayed command is not lost: it is executed when its client has long given up, before or after the delay.
func TestADelayOutlastsItsClient(t *testing.T) {
	for kind, before := range map[respproxy.Kind]string{respproxy.DelayRequest: "", respproxy.DelayReply: "1"} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			late := make(chan struct{})
			w.Plan(once("INCR", respproxy.Fault{Kind: kind, Until: late}))
			rdb := w.client(t, &redis.Options{ReadTimeout: 50 * time.Millisecond})
			var timeout net.Error
			if err := rdb.Incr(t.Context(), "n").Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Fatalf("got %v, want a timeout", err)
			}
			must(t, rdb.Close())
			w.stands(t, before)
			if n := w.Pending(); n != map[string]int{"": 1, "1": 0}[before] {
				t.Errorf("%d commands are on their way", n)
			}
			close(late)
			until(t, "all has arrived", func() bool { return w.Pending() == 0 })
			w.stands(t, "1")
		})
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// go-redis sends again by itself what may have been executed: the reason for this package.
func TestGoRedisExecutesAgainWhatLostItsReply(t *testing.T) {
	w := newWorld(t)
	drops := 0
	w.Plan(func(c respproxy.Command) respproxy.Fault {
		if c.Name != "INCR" || drops == 3 {
			return respproxy.Fault{}
		}
		drops++
		return respproxy.Fault{Kind: respproxy.DropAfter}
	})
	must(t, w.client(t, &redis.Options{MaxRetries: 3}).Incr(t.Context(), "n").Err())
	w.stands(t, "4")
}

// A cluster client follows MOVED and ASK, and comes back to the proxy.
func TestRedirectionsLeadBackToTheProxy(t *testing.T) {
	w := newWorld(t)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: w.Addr()}}}}, nil
		},
	})
	defer rdb.Close()
	for _, kind := range []respproxy.Kind{respproxy.Moved, respproxy.Ask} {
		w.Plan(once("INCR", respproxy.Fault{Kind: kind}))
		must(t, rdb.Incr(t.Context(), "n").Err())
		if w.Counts()[kind] != 1 {
			t.Errorf("%s did not happen", kind)
		}
	}
	w.stands(t, "2")
}

// Every shape of reply passes as it is: what a client reads through the proxy is what it reads without.
func TestRepliesPassAsTheyAre(t *testing.T) {
	w := newWorld(t)
	for _, protocol := range []int{2, 3} {
		through, direct := w.client(t, &redis.Options{Protocol: protocol}), w.client(t, &redis.Options{Addr: w.direct.Options().Addr, Protocol: protocol})
		must(t, direct.HSet(t.Context(), "h", "a", "1", "b", strings.Repeat("\r\n*3$-", 40_000)).Err())
		must(t, direct.ZAdd(t.Context(), "z", redis.Z{Score: 1.5, Member: "m"}).Err())
		for _, words := range [][]any{
			{"ping"}, {"get", "none"}, {"hgetall", "h"}, {"hmget", "h", "a", "none"}, {"zrange", "z", "0", "-1", "withscores"},
			{"zscore", "z", "m"}, {"smembers", "none"}, {"lrange", "none", "0", "-1"}, {"command", "docs", "get"}, {"incr", "h"}, {"nonsense"},
			{"eval", "return {1, {'a', {}, false}, redis.error_reply('E no')}", "0"},
			{"debug", "protocol", "map"}, {"debug", "protocol", "set"}, {"debug", "protocol", "double"}, {"debug", "protocol", "bignum"},
			{"debug", "protocol", "null"}, {"debug", "protocol", "verbatim"}, {"debug", "protocol", "true"}, {"debug", "protocol", "array"},
		} {
			got, gotErr := through.Do(t.Context(), words...).Result()
			want, wantErr := direct.Do(t.Context(), words...).Result()
			if fmt.Sprint(got, gotErr) != fmt.Sprint(want, wantErr) {
				t.Errorf("RESP%d %v: got %v, %v, want %v, %v", protocol, words, got, gotErr, want, wantErr)
			}
		}
	}
}

// Values come with attributes and pushes in RESP3; both reach the client, and the order of replies holds.
func TestAttributesAndPushesPass(t *testing.T) {
	w := newWorld(t)
	conn, err := net.Dial("tcp", w.Addr())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n\r\nDEBUG PROTOCOL attrib\r\nDEBUG PROTOCOL push\r\nPING\r\n")
	must(t, err)
	var got strings.Builder
	for r := bufio.NewReader(conn); !strings.HasSuffix(got.String(), "+PONG\r\n"); {
		line, err := r.ReadString('\n')
		must(t, err)
		got.WriteString(line)
	}
	for _, want := range []string{"|1\r\n", "Some real reply following the attribute", ">2\r\n", "server-cpu-usage"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no %q in %q", want, got.String())
		}
	}
}

// A subscription is a pipe.
func TestSubscriptionsPass(t *testing.T) {
	w := newWorld(t)
	w.Plan(func(c respproxy.Command) respproxy.Fault {
		if c.Name == "SUBSCRIBE" {
			return respproxy.Fault{Kind: respproxy.DropBefore}
		}
		return respproxy.Fault{}
	})
	for _, protocol := range []int{2, 3} {
		sub := w.client(t, &redis.Options{Protocol: protocol}).Subscribe(t.Context(), "news")
		_, err := sub.Receive(t.Context())
		must(t, err)
		must(t, w.direct.Publish(t.Context(), "news", "one").Err())
		m, err := sub.ReceiveMessage(t.Context())
		must(t, err)
		if m.Payload != "one" {
			t.Errorf("got %v", m)
		}
		must(t, sub.Close())
	}
}

// Point takes the clients to another server, as after a promotion.
func TestPointLeadsToAnotherServer(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	rdb := w.client(t, &redis.Options{MaxRetries: 3})
	must(t, rdb.Incr(t.Context(), "n").Err())
	w.Point(other.direct.Options().Addr)
	must(t, rdb.Incr(t.Context(), "n").Err())
	w.stands(t, "1")
	other.stands(t, "1")
}

// Close ends every wait and every connection, in the middle of a delay too.
func TestCloseEndsWhatWaits(t *testing.T) {
	addr := redistest.Start(t)
	p, err := respproxy.Start(addr, func(c respproxy.Command) respproxy.Fault {
		switch c.Name {
		case "INCR":
			return respproxy.Fault{Kind: respproxy.DelayRequest, Delay: time.Hour}
		case "DECR":
			return respproxy.Fault{Kind: respproxy.DelayReply, Delay: time.Hour}
		}
		return respproxy.Fault{}
	})
	must(t, err)
	var clients sync.WaitGroup
	for _, name := range []string{"incr", "decr"} {
		rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: -1, ReadTimeout: time.Hour})
		clients.Go(func() {
			if err := rdb.Do(context.Background(), name, "n").Err(); err == nil {
				t.Errorf("%s was answered", name)
			}
			_ = rdb.Close()
		})
	}
	until(t, "both wait", func() bool { return p.Injected() == 2 })
	must(t, p.Close())
	clients.Wait()
}

// The same seed hits the same scripts with the same faults, and nothing but scripts.
func TestARandomPlanIsAFunctionOfItsSeed(t *testing.T) {
	plan := func(seed uint64) string {
		s := respproxy.Random(seed, 4, time.Second, respproxy.Kinds...)
		var b strings.Builder
		for range 400 {
			if f := s(respproxy.Command{Name: "HELLO"}); f.Kind != "" {
				t.Fatalf("HELLO was hit with %s", f.Kind)
			}
			fmt.Fprintln(&b, s(respproxy.Command{Name: "EVALSHA"}))
		}
		return b.String()
	}
	one, again, two := plan(1), plan(1), plan(2)
	if one != again || one == two {
		t.Error("the plan does not follow the seed")
	}
	for _, kind := range respproxy.Kinds {
		if !strings.Contains(one, string(kind)) {
			t.Errorf("%s never happens", kind)
		}
	}
}
