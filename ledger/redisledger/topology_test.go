package redisledger_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// The laws on every shape in which people run Redis, and what becomes of calls while one shape changes.

// laws checks the server and tries every law on it. clear empties it before each.
func laws(t *testing.T, rdb redis.UniversalClient, clear func(t testing.TB)) {
	t.Helper()
	must(t, redisledger.New(rdb, nil).Check(ctx))
	ledgertest.Run(t, func(t *testing.T, clock *ledgertest.Clock) ledger.Ledger {
		clear(t)
		return redisledger.New(rdb, &redisledger.Options{Now: clock.Now})
	})
}

// empty flushes servers past their clients.
func empty(servers ...*redistest.Server) func(t testing.TB) {
	return func(t testing.TB) {
		t.Helper()
		for _, s := range servers {
			must(t, s.Admin().FlushAll(ctx).Err())
		}
	}
}

func TestLawsInBothProtocols(t *testing.T) {
	t.Parallel()
	s := redistest.Serve(t)
	for name, protocol := range map[string]int{"RESP2": 2, "RESP3": 3} {
		t.Run(name, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: protocol})
			defer rdb.Close()
			laws(t, rdb, empty(s))
		})
	}
}

// A user who may do what ACL says and nothing else is enough, and the laws hold behind TLS.
func TestLawsBehindTLSAsAUserWithNoMoreThanACL(t *testing.T) {
	t.Parallel()
	s, conf, err := redistest.RunTLS()
	must(t, err)
	t.Cleanup(s.Close)
	rdb := asUser(t, s, conf, redisledger.ACL)
	laws(t, rdb, empty(s))
	if denials := s.Admin().ACLLog(ctx, 10).Val(); len(denials) > 0 {
		t.Errorf("the ledger asked for what ACL does not give: %+v", *denials[0])
	}
}

// asUser makes a user "ledger" with rules and returns its client.
func asUser(t testing.TB, s *redistest.Server, conf *tls.Config, rules string) *redis.Client {
	t.Helper()
	args := []any{"ACL", "SETUSER", "ledger", "reset", "on", ">secret"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	must(t, s.Admin().Do(ctx, args...).Err())
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), TLSConfig: conf, Username: "ledger", Password: "secret", DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
