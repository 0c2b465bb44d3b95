// Package redisledger keeps the books in Redis 7 or Valkey, shared by all processes that use the same server. It
// works on one node, behind Sentinel and on a cluster, through the user's own client.
//
// Each verb is one Lua script, so it happens as a whole or not at all, in the order in which Redis takes them.
// Reserve is one round trip in the usual case; a call that moves an object that another reservation carries, a
// retry that attaches, and the first call after a window or a budget has changed take one or two more.
//
// Adjust takes two round trips, since it reads the record first. What a reserve costs does not depend on how many
// reservations are open or in doubt.
//
// Every script is idempotent, because go-redis sends a command again, up to three times, when a reply is lost.
//
// What an error means: a [*ledger.Denied] is the script's own verdict and nothing was changed. Any other error
// means that the verb may or may not have been carried out; all verbs may be repeated as they are. A verb
// returns when its context ends or [Options.Timeout] has passed, whatever the client's own timeouts are.
//
// What it takes in memory is bounded but for the reservations: a rolling budget has 61 slots at most, a repeat rule a
// thousand times, a tenant ten thousand alerts. A finished reservation that has cost money takes about 1.3 KB for
// [Options.Remember].
//
// A server that is down costs each refused call the client's own dial retries (go-redis dials five times by default:
// set DialerRetries), and a second wait for taking back what may have been reserved.
//
// In a cluster a call waits while its tenant's slot moves from one master to another, which takes the longer the
// more the tenant has on its books; it is refused when the slot has not moved after [Options.Timeout]. When a master
// is gone, calls are refused until a replica has taken over.
//
// Redis can lose writes that it has acknowledged: it is flushed, a snapshot is restored under running processes, a
// failover promotes a replica that had not received them. Every reply tells a process how far the tenant's books have
// come, and every request carries it back, so the next request notices. The tenant is frozen then, in every process:
// Reserve, Raise, Open and SetBudget are refused with [reason.LedgerFrozen], Settle, Release and Control go on, until
// [Ledger.Rearm] has put back what the processes know. There are no false alarms.
//
// Not promised: a loss is detected, not prevented; calls that were admitted in between, on books that had forgotten
// some spend, stand. It is not detected when no process runs that was told of what is lost, such as when the store is
// restored before a cold start. What a process knows for a re-arm is in its memory and ends with it.
package redisledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options are the choices that have a default.
type Options struct {
	// Timeout bounds every verb, on top of its context. Control on all tenants, Check and the lists take it for each of
	// their steps. Default: one second.
	Timeout time.Duration

	// Remember is for how long a finished reservation that has cost money is kept, so that [Ledger.Adjust] finds it. One
	// that has not is kept for a day, and with an idempotency key for 31 days. Default: 31 days.
	Remember time.Duration

	// Journal is the path of a file, made with mode 0600, that keeps what could not be booked. A Settle or Release that
	// does not reach Redis is written there, with fsync, before it returns [ledger.ErrDeferred], and is said again in the
	// background until Redis answers; Check reads the file, so that the next process goes on where this one ended. The
	// file is one process' own: a second one's Check fails where the operating system has flock, elsewhere two must not
	// be given the same path. Up to 65536 outcomes are kept; beyond that Settle and Release return the plain error.
	// Default: none; they are kept in memory, and when the process ends first, their holds become in doubt.
	Journal string

	// Replicas is how many replicas must have a Reserve or Raise that was admitted, or a Control, before it returns
	// without error. Each such verb costs a WAIT on a connection of
	// its own, which is one more round trip to the server and one from there to the replicas; with a replica that is away
	// every such verb fails. With too few, a Reserve or Raise is an error that is no verdict, so the call is denied and its
	// hold released, and a Control is an error although it stands on the master: say it again. Unless all replicas are
	// asked for, a failover to one that was not among them loses the write all the same; in a partition, a master that
	// was cut off has none and so admits nothing. Settle and Release are not waited for. Default: none.
	Replicas int

	// ReplicaTimeout is how long is waited for them, within Timeout. Default: half of Timeout.
	ReplicaTimeout time.Duration

	// Now replaces the server's clock, for tests. Default: Redis TIME, one clock for all processes.
	Now func() time.Time
}

// A Ledger is a [ledger.Ledger] in Redis. It is safe for concurrent use. Its own state decides nothing: it has copies of
// the shared budgets' definitions, each checked by the script on every use, and remembers what the store has
// acknowledged, to notice a loss and put it back.
type Ledger struct {
	rdb     redis.UniversalClient
	timeout time.Duration
	retain  time.Duration
	now     func() time.Time
	ahead   atomic.Int64 // by how many microseconds the server's clock was ahead of ours when last seen
	specs   sync.Map     // key name of a shared budget → spec
	watches sync.Map     // key name of a meta row → *watch
	journal journal
	memory  memory

	replicas       int
	replicaTimeout time.Duration
}

// New returns a ledger over rdb, which stays the caller's to close. It does no I/O; Check does. nil options are
// the defaults. Close ends what the ledger does in the background.
func New(rdb redis.UniversalClient, o *Options) *Ledger {
	if o == nil {
		o = &Options{}
	}
	l := &Ledger{rdb: rdb, timeout: o.Timeout, retain: o.Remember, now: o.Now}
	l.journal.path = o.Journal
	l.replicas, l.replicaTimeout = o.Replicas, o.ReplicaTimeout
	if l.timeout <= 0 {
		l.timeout = time.Second
	}
	if l.retain <= 0 {
		l.retain = 31 * 24 * time.Hour
	}
	if l.replicaTimeout <= 0 {
		l.replicaTimeout = l.timeout / 2
	}
	return l
}

// tries bounds how often a verb proposes anew after the store has changed under it. Each round means that
// another verb went ahead, so only an unending stream of calls on one object can use it up; then the verb is an
// error, hence a denial.
const tries = 16

// estimate is what the server's clock probably says. It is a proposal: the script checks it.
func (l *Ledger) estimate() time.Time {
	if l.now != nil {
		return l.now()
	}
	return time.Now().Add(time.Duration(l.ahead.Load()) * time.Microsecond)
}

// seen takes the server's time from a reply.
func (l *Ledger) seen(micros int64) {
	if l.now == nil {
		l.ahead.Store(micros - time.Now().UnixMicro())
	}
}

// clock is the field now of every request: empty for the server's own.
func (l *Ledger) clock() string {
	if l.now == nil {
		return ""
	}
	return digits(l.now().UnixMicro())
}

// run carries out one script within ctx and the ledger's timeout.
func (l *Ledger) run(ctx context.Context, s script, keys []string, args any) (*reply, error) {
	text, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("redisledger: %w", err)
	}
	// JSON has no room for other bytes: it would give two names that differ in them the same counter.
	if bytes.Contains(text, []byte(`\ufffd`)) && notText.Match(text) {
		return nil, errors.New("redisledger: a name or a memo is not UTF-8")
	}
	got, err := l.call(ctx, s, keys, string(text))
	l.reroute(ctx, err)
	return got, err
}

// inner writes v, which is strings and numbers only, as the JSON that is itself a text among a script's arguments. Where a
// byte of v is not UTF-8 it is such a byte, so that run refuses it: of the JSON in JSON it would not see it.
func inner(v any) string {
	text, _ := json.Marshal(v) // of such a v it cannot fail
	if notText.Match(text) {
		return "\xff"
	}
	return string(text)
}

// notText finds what package json writes for a byte that is not UTF-8: an escape, whose backslash is none's.
var notText = regexp.MustCompile(`(^|[^\\])(\\\\)*\\ufffd`)

func (l *Ledger) call(ctx context.Context, s script, keys []string, text string) (*reply, error) {
	if s.watched {
		return l.watched(ctx, s, keys, text)
	}
	return within(ctx, l.timeout, func(ctx context.Context) (*reply, error) {
		return decode(s.Run(ctx, l.rdb, keys, text).Result())
	})
}

// within returns when do has, or when ctx has ended or the timeout passed, whichever is first.
//
// go-redis looks at a context's deadline while it waits for a reply only when the client was made with
// ContextTimeoutEnabled, and at its cancellation never: with the defaults a deadline of 100 ms returns after
// 5 s. Asking the user to set the option would make the promise theirs to keep, so the command runs in a
// goroutine of its own, which ends at the latest with the client's own timeouts. The command may still be
// carried out after the verb has returned an error; that is why every verb can be repeated.
func within[T any](ctx context.Context, timeout time.Duration, do func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	done := make(chan outcome, 1)
	go func() {
		defer cancel()
		v, err := steady(ctx, do)
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, far(o.err)
	case <-ctx.Done():
		// The goroutine cancels as it ends; then the outcome is there or about to be.
		select {
		case o := <-done:
			return o.value, far(o.err)
		default:
		}
		var none T
		return none, far(fmt.Errorf("no answer in time: %w", context.Cause(ctx)))
	}
}

// A farError came from Redis or the way there, not from this package.
type farError struct{ err error }

func (e *farError) Error() string { return "redisledger: " + e.err.Error() }
func (e *farError) Unwrap() error { return e.err }

func far(err error) error {
	if err == nil {
		return nil
	}
	return &farError{err}
}

// nonce is a random name for one call of a verb that has no id of its own. It is letters and digits only: it is
// searched for as a Lua pattern.
func nonce() string { return rand.Text() }
