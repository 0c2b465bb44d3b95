package redisledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ACL is what the ledger's user has to be allowed, and no more, as rules of ACL SETUSER. It is the same on one
// node, behind Sentinel and in a cluster:
//
//	ACL SETUSER keybrake on >PASSWORD resetkeys ~kb:* resetchannels &kb:* -@all +ping …
//
// With [Options.Replicas], and only then, the user also needs +wait; for [Ledger.Reservations], and only for that, +scan.
//
// go-redis also tells the server its name, which is not among them. It carries on when that is refused; the
// server's ACL LOG stays empty when DisableIdentity is set in the client's options.
const ACL = aclAll + aclCluster

const (
	aclAll = "resetkeys ~kb:* resetchannels &kb:* -@all" +
		" +ping +info +time +eval +evalsha" +
		" +hget +hmget +hgetall +hset +hdel +hexists +hlen +hincrby" +
		" +get +set +exists +del +persist +pexpire +pttl" +
		" +rpush +lindex +lrange +ltrim" +
		" +sadd +sscan +zadd +zcard +zrem +zrange +zrangebyscore +zscan" +
		" +publish +subscribe"
	// With these a cluster's client finds its way. Later versions of go-redis ask for COMMAND, and when refused ask
	// again at every call.
	aclCluster = " +asking +cluster|slots +command"
)

// permitArgs is ARGV[1] of permit.lua.
type permitArgs struct {
	Now      string     `json:"now"`
	Commands [][]string `json:"commands"`
}

// checkArgs is ARGV[1] of check.lua.
type checkArgs struct {
	Now   string `json:"now"`
	Nonce string `json:"nonce"`
}

// Check reports why this Redis is not fit to hold the books, if it is not, and what to do about it: it cannot be
// reached or written, is older than 7.0, a replica, evicts keys when its memory is full, which would set budgets
// back to zero, or forbids the user something that a verb needs. In a cluster every master is looked at.
// It also reads [Options.Journal] and begins to book what is in it.
func (l *Ledger) Check(ctx context.Context) error {
	if err := l.client(ctx); err != nil {
		return advised(err)
	}
	got, err := l.run(ctx, checkScript, []string{checkRow}, checkArgs{l.clock(), nonce()})
	if err != nil {
		return advised(fmt.Errorf("redisledger: scripts cannot write: %w", err))
	}
	if err := got.expect("ok"); err != nil {
		return err
	}
	l.seen(got.number())
	if err := got.err(); err != nil {
		return err
	}
	return l.replay()
}

// client looks at the client, and through it at every server that takes writes.
func (l *Ledger) client(ctx context.Context) error {
	switch rdb := l.rdb.(type) {
	case nil:
		return errors.New("redisledger: no client")
	case *redis.Ring:
		return errors.New("redisledger: a redis.Ring loses counters when a shard joins or leaves; use redis.NewClient for one server, or redis.NewClusterClient")
	case *redis.ClusterClient:
		if rdb.Options().ReadOnly {
			return errors.New("redisledger: the client reads from replicas, which lag behind the books; leave ReadOnly, RouteByLatency and RouteRandomly of redis.ClusterOptions unset")
		}
		return rdb.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return l.fit(ctx, node, true) })
	case *redis.Client:
		return l.fit(ctx, rdb, false)
	default:
		return l.fit(ctx, rdb, true) // the user's own; what it finds its way with is not known
	}
}

// fit looks at one server. routed says that the client finds the way in a cluster.
func (l *Ledger) fit(ctx context.Context, node redis.Cmdable, routed bool) error {
	if _, err := within(ctx, l.timeout, func(ctx context.Context) (string, error) { return node.Ping(ctx).Result() }); err != nil {
		return fmt.Errorf("redisledger: no answer to PING: %w", err)
	}
	info, err := l.info(ctx, node)
	if err != nil {
		return err
	}
	if major, _, _ := strings.Cut(info["redis_version"], "."); !atLeast(major, 7) {
		return fmt.Errorf("redisledger: Redis %q is too old; 7.0 or later is needed", info["redis_version"])
	}
	if info["role"] != "master" {
		return fmt.Errorf("redisledger: the server's role is %q, and the books need the master; connect to it, with Sentinel through redis.NewFailoverClient without ReplicaOnly", info["role"])
	}
	// CONFIG is often forbidden; INFO memory says the same.
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		return fmt.Errorf("redisledger: maxmemory-policy is %q, which drops rows and so resets budgets; run: CONFIG SET maxmemory-policy noeviction, and set it in redis.conf or with your provider", policy)
	}
	if info["cluster_enabled"] == "1" && !routed {
		return errors.New("redisledger: the server is a node of a cluster, and the client does not find the other nodes; use redis.NewClusterClient")
	}
	rules := aclAll
	if info["cluster_enabled"] == "1" {
		rules = ACL
	}
	if l.replicas > 0 {
		rules += " +wait"
	}
	return l.permitted(ctx, node, rules)
}

// permitted asks the server whether the user may do what the rules say. A verb that is needed once a month would
// otherwise be found to be forbidden once a month.
func (l *Ledger) permitted(ctx context.Context, node redis.Cmdable, rules string) error {
	commands := samples(rules)
	text, err := json.Marshal(permitArgs{l.clock(), commands})
	if err != nil {
		return fmt.Errorf("redisledger: %w", err)
	}
	got, err := within(ctx, l.timeout, func(ctx context.Context) (*reply, error) {
		return decode(permitScript.Run(ctx, node, nil, string(text)).Result())
	})
	if err != nil {
		return fmt.Errorf("redisledger: the server does not run scripts: %w", err)
	}
	if err := got.expect("ok"); err != nil {
		return err
	}
	if len(got.rest) > 0 {
		return fmt.Errorf("redisledger: the user may not: %s; %s", strings.Join(got.rest, ", "), advice)
	}
	return nil
}

// samples are the commands that rules allow, each in a form in which the ledger uses it.
func samples(rules string) [][]string {
	var list [][]string
	for rule := range strings.FieldsSeq(rules) {
		command, ok := strings.CutPrefix(rule, "+")
		if !ok {
			continue
		}
		words := strings.Split(command, "|")
		switch command {
		case "ping", "info", "time", "asking", "command", "cluster|slots":
		case "eval", "evalsha":
			words = append(words, "x", "0")
		case "wait":
			words = append(words, "1", "1")
		default:
			words = append(words, tenant("x").none()) // a key's name or a channel's, whichever the command takes
		}
		list = append(list, words)
	}
	return list
}

const advice = "give the ledger a user of its own: ACL SETUSER keybrake on >PASSWORD " + ACL

// advised adds to a server's refusal what to do.
func advised(err error) error {
	switch {
	case redis.HasErrorPrefix(err, "NOPERM"):
		return fmt.Errorf("%w; %s", err, advice)
	case redis.HasErrorPrefix(err, "This instance has cluster support disabled"):
		return fmt.Errorf("redisledger: %w; the server is no node of a cluster: use redis.NewClient", err)
	}
	return err
}

// info reads the sections that fit looks at. A field that is missing is empty, which no check accepts.
func (l *Ledger) info(ctx context.Context, node redis.Cmdable) (map[string]string, error) {
	fields := map[string]string{}
	for _, section := range []string{"server", "replication", "memory", "cluster"} {
		text, err := within(ctx, l.timeout, func(ctx context.Context) (string, error) { return node.Info(ctx, section).Result() })
		if err != nil {
			return nil, fmt.Errorf("redisledger: INFO %s: %w", section, err)
		}
		for line := range strings.Lines(text) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				fields[k] = v
			}
		}
	}
	return fields, nil
}

func atLeast(s string, n int) bool {
	got, err := strconv.Atoi(s)
	return err == nil && got >= n
}
