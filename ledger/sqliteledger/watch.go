package sqliteledger

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// SQLite tells no other process that something was written, so who watches asks, ten times a second: a read of a few
// microseconds that waits for no writer.
const watchEvery = 100 * time.Millisecond

// mostCommands is how many controls are kept for who watches and is behind. Those that it has missed are lost to it,
// as the contract allows: the check in Reserve is what stops calls.
const mostCommands = 1000

// Watch calls tell for every control that any process makes from now on, in the goroutine of its caller and within
// about a tenth of a second, until ctx ends; then it returns the cause. It returns early, with the reason, when the
// file cannot be read at first, or the ledger is closed. A file that cannot be read later on, when calls are refused
// for it as well, is waited for; what was made meanwhile is told then.
func (l *Ledger) Watch(ctx context.Context, tell func(ledger.Control)) error {
	last, err := view(ctx, l, "", func(b *books) (n int64, err error) {
		b.get(`SELECT coalesce(max(n), 0) FROM commands`, nil, &n)
		return n, nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		made, err := view(ctx, l, "", func(b *books) ([]command, error) { return b.commands(last), nil })
		if errors.Is(err, errClosed) {
			return err
		}
		for _, c := range made {
			last = c.n
			tell(c.control())
		}
	}
}

// A command is a control as it is kept for who watches.
type command struct {
	n                          int64
	tenant, name, verb, reason string
}

// announce keeps a control for who watches. The newest row never goes, so that numbers are not used again.
func (b *books) announce(name string, c ledger.Control) {
	b.exec(`INSERT INTO commands (tenant, name, verb, reason) VALUES (?, ?, ?, ?)`, c.Tenant, name, string(c.Verb), c.Reason)
	b.exec(`DELETE FROM commands WHERE n <= (SELECT max(n) FROM commands) - ?`, mostCommands)
}

// commands are the controls that were made after the one of number n, in order.
func (b *books) commands(n int64) (list []command) {
	var c command
	b.each(`SELECT n, tenant, name, verb, reason FROM commands WHERE n > ? ORDER BY n`, []any{n},
		func() { list = append(list, c) }, &c.n, &c.tenant, &c.name, &c.verb, &c.reason)
	return list
}

// control reads back what [ledger.Control.Name] has written.
func (c command) control() ledger.Control {
	out := ledger.Control{Verb: ledger.Verb(c.verb), Tenant: c.tenant, Reason: c.reason}
	kind, value, _ := strings.Cut(c.name, ":")
	switch kind {
	case "all":
		out.All = true
	case "key":
		out.Key = value
	case "agent":
		out.Agent = value
	case "run":
		out.Run = value
	case "label":
		out.Label = value
	case "vendor":
		out.Vendor = value
	case "issuer":
		out.Issuer = value
	}
	return out
}
