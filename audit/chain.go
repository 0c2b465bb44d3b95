package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Link ties a record to the one that the same writer has made before it. See [Chain].
type Link struct {
	Writer string `json:"writer"` // one sink of one process
	N      int64  `json:"n"`      // the writer's records count from 1

	// Lost is how many numbers before N the writer's sink did not take, as far as the writer knows. Their records may be
	// there all the same.
	Lost int64 `json:"lost,omitempty"`

	Prev string `json:"prev,omitempty"` // the hash of the record before, or of the last one that was taken; empty for the first
	Hash string `json:"hash"`           // SHA-256 of the record's line without Hash and Signature, in hex
	Sign string `json:"sign,omitempty"` // Ed25519 over Hash, in base64

	// rewritten says that the record was read from a line that is not, to the byte, the one that a sink writes: it may say one
	// thing to [Read], in a name that stands there twice or in other letters, and another to whoever else reads it.
	rewritten bool
}

// Chain returns a sink that gives each record a [Link] and writes it to next, in that order. [Verify] finds what was
// changed, removed, inserted or put in another order afterwards.
//
// With a key every link is signed: whoever writes where the records are kept, and has not the key, can then cut off a
// writer's end and nothing else without being noticed. Without a key he can make all links anew from where he changes
// something; then [Verified].Heads have to be kept elsewhere and compared: see [Verified.Checkpoint].
//
// Where next is a [BatchSink], records that come while it is busy are linked and handed on together: many calls share one
// sync or transaction. A batch is of intents alone or of others alone, since a sink may keep the ones and refuse the others
// (an [Outbox] does), and it takes turns.
//
// A writer is one such sink: make one per process. A record that next does not take uses up its number, and the next one
// says so. A record that is given again gets another link: a sink that keeps one record of each id has to keep both where
// their links differ, or the chain has a gap.
func Chain(next Sink, key ed25519.PrivateKey) Sink {
	key = slices.Clone(key)
	c := &chain{to: guarded(next), key: func() ed25519.PrivateKey { return key }, writer: "w" + strings.ToLower(rand.Text()), most: 1}
	if batches(next) {
		c.most = mostInBatch
	}
	return c
}

// mostInBatch is how many records this package puts into one batch.
const mostInBatch = 256

type chain struct {
	to     *guard
	key    func() ed25519.PrivateKey // a func prints as an address, never as the key
	writer string
	most   int // how many records next is given at once

	mu      sync.Mutex // of what follows
	waiting []*pending // in the order in which they came
	busy    bool       // a goroutine writes what waits

	// Of that goroutine.
	n       int64 // the number of the last record
	lost    int64
	prev    string // of the last record that was taken
	intents bool   // what the last batch was of
}

// A pending is what one caller waits for: records that are all intents, or all not.
type pending struct {
	load
	ctx    context.Context
	result chan error
}

// Check fails where a link could not be signed, and where next does.
func (c *chain) Check(ctx context.Context) error {
	if key := c.key(); len(key) != 0 && len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("audit: a chain's key has %d bytes, not %d", len(key), ed25519.PrivateKeySize)
	}
	return c.to.Check(ctx)
}

func (c *chain) Write(ctx context.Context, r Record) error { return c.take(ctx, one(ctx, r)) }

func (c *chain) WriteBatch(ctx context.Context, rs []Record) error { return c.take(ctx, many(ctx, rs)) }

func (c *chain) take(ctx context.Context, l load) error {
	for _, part := range l.parts() {
		if err := c.put(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// put waits until records are written with others, or ctx ends.
func (c *chain) put(ctx context.Context, l load) error {
	p := &pending{l, ctx, make(chan error, 1)}
	c.join(p)
	select {
	case err := <-p.result:
		return err
	case <-ctx.Done():
		c.giveUp(p)
	}
	select {
	case err := <-p.result: // both were ready, and the records are kept
		return err
	default:
		return late(ctx)
	}
}

func (c *chain) join(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, p)
	if !c.busy {
		c.busy = true
		go c.write()
	}
}

// giveUp sees to it that what no batch has taken yet is in none later.
func (c *chain) giveUp(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(q *pending) bool { return q == p })
}

// write writes what waits, batch by batch, until nothing does.
func (c *chain) write() {
	for batch := c.next(); len(batch) > 0; batch = c.next() {
		c.writeBatch(batch)
	}
}

// next takes the next batch out of what waits: of the kind that it was not the turn of last, if there is any. Whose context
// has ended gives up, or has.
func (c *chain) next() (batch []*pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(p *pending) bool { return p.ctx.Err() != nil })
	if slices.ContainsFunc(c.waiting, func(p *pending) bool { return p.intents() != c.intents }) {
		c.intents = !c.intents
	}
	n := 0
	c.waiting = slices.DeleteFunc(c.waiting, func(p *pending) bool {
		fits := p.intents() == c.intents && (n == 0 || n+len(p.records) <= c.most)
		if fits {
			batch, n = append(batch, p), n+len(p.records)
		}
		return fits
	})
	c.busy = len(batch) > 0
	return batch
}

// writeBatch links the records of a batch, hands them on, and tells all that wait for it what came of it.
func (c *chain) writeBatch(batch []*pending) {
	ctx, done := together(batch)
	defer done()
	var all load
	var told []*pending
	head, lost := Head{c.n, c.prev}, c.lost
	for _, p := range batch {
		linked, err := c.linked(p.records, head, lost)
		if err != nil {
			p.result <- err
			continue
		}
		last := linked[len(linked)-1].Chain
		head, lost = Head{last.N, last.Hash}, 0
		all, told = all.and(load{linked, p.of}), append(told, p)
	}
	if len(told) == 0 {
		return
	}
	c.n, c.lost = head.N, c.lost+int64(len(all.records))
	err := c.to.take(ctx, all)
	if err == nil {
		c.lost, c.prev = 0, head.Hash
	}
	for _, p := range told {
		p.result <- err
	}
}

// linked are rs with their links, the first of which follows head.
func (c *chain) linked(rs []Record, head Head, lost int64) ([]Record, error) {
	rs = slices.Clone(rs)
	for i := range rs {
		l := &Link{Writer: c.writer, N: head.N + 1, Lost: lost, Prev: head.Hash}
		rs[i].Chain = l
		if err := l.seal(rs[i], c.key()); err != nil {
			return nil, err
		}
		head, lost = Head{l.N, l.Hash}, 0
	}
	return rs, nil
}

// together is a context that ends when the last of those that wait for a batch has given up, and no earlier: nobody's
// impatience fails another's record. It has the values of none of them.
func together(batch []*pending) (context.Context, func()) {
	if len(batch) == 1 {
		return batch[0].ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ctx, done := untilLast(ctx, batch)
	var waiting atomic.Int64
	waiting.Store(int64(len(batch)))
	var stops []func() bool
	for _, p := range batch {
		stops = append(stops, context.AfterFunc(p.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel(context.Cause(p.ctx))
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		done()
		cancel(nil)
	}
}

// untilLast gives ctx the latest deadline of a batch, for sinks that look at it, if all have one.
func untilLast(ctx context.Context, batch []*pending) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, p := range batch {
		until, ok := p.ctx.Deadline()
		if !ok {
			return ctx, func() {}
		}
		if until.After(last) {
			last = until
		}
	}
	return context.WithDeadline(ctx, last)
}

// seal completes the link of r.
func (l *Link) seal(r Record, key ed25519.PrivateKey) (err error) {
	if l.Hash, err = hashOf(r); err != nil {
		return fmt.Errorf("audit: hashing a record: %w", err)
	}
	if len(key) == ed25519.PrivateKeySize {
		l.Sign = base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(l.Hash)))
	}
	return nil
}

// hashOf is the hash of a record that has a link: of its line, with what the hash is written into left empty.
func hashOf(r Record) (string, error) {
	bare := *r.Chain
	bare.Hash, bare.Sign = "", ""
	r.Chain = &bare
	line, err := encode(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:]), nil
}

// signed is what a signature covers. The label keeps it from being one of anything else that the key may sign.
func signed(hash string) []byte { return []byte("keybrake audit v1\x00" + hash) }
