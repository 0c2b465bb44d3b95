package redisledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/keybrake/keybrake-go/ledger"
)

// Open and Control on every tenant are written so that no tenant falls between them. Open puts the tenant into
// the registry first and reads the global controls afterwards; Control writes the global control first and reads
// the registry afterwards. Registry and global controls are in one slot, hence one order: either Control reads the
// registry after Open has written it, and then goes to the tenant itself, or Open's reading comes after Control's
// writing, and copies it. Global controls are counted (versions), and a tenant takes none that is older than the
// newest it was told of the same name, so a copy that arrives late does not bring back what has been undone.

// registerArgs is ARGV[1] of register.lua.
type registerArgs struct {
	Tenant string `json:"tenant"`
}

// openArgs is ARGV[1] of open.lua.
type openArgs struct {
	Now       string       `json:"now"`
	Expires   string       `json:"expires"`
	Retention string       `json:"retention"` // microseconds for which the row outlives the key
	Globals   []globalArgs `json:"globals"`
	Frozen    bool         `json:"frozen"` // a re-arm: an overrun had frozen the key
}

type globalArgs struct {
	Name    string `json:"name"`
	Verb    string `json:"verb"`
	Version string `json:"version"`
}

// controlArgs is ARGV[1] of control.lua.
type controlArgs struct {
	Now    string `json:"now"`
	Name   string `json:"name"`
	Verb   string `json:"verb"`
	Reason string `json:"reason"`
	Nonce  string `json:"nonce"`
	Key    bool   `json:"key"`

	// Narrowed says that the key is one without a row of its own: KEYS[2] is that of the key which it was narrowed from.
	Narrowed bool   `json:"narrowed"`
	Global   bool   `json:"global"`
	Version  string `json:"version"` // of the global control that is being told; empty for the tenant's own
}

// Open makes the row of a key. The row goes a month after the key has expired: until then a settlement finds it,
// and afterwards nothing asks for it.
func (l *Ledger) Open(ctx context.Context, k ledger.Key) error {
	got, err := l.run(ctx, registerScript, []string{registry, globalControls}, registerArgs{k.Tenant})
	if err != nil {
		return err
	}
	if err := got.expect("ok"); err != nil {
		return err
	}
	a := openArgs{
		Now: l.clock(), Expires: digits(k.Expires.UnixMicro()), Retention: digits(max(keepClaimed, l.retain).Microseconds()),
		Globals: globals(got.fields()),
	}
	t := tenant(k.Tenant)
	if got, err = l.run(ctx, openScript, []string{t.key(k.ID), t.controls()}, a); err != nil {
		return err
	}
	if err := got.expect("ok"); err != nil {
		return err
	}
	l.memory.opened(k.Tenant, k.ID, k.Expires)
	return nil
}

// controlField begins the fields of a row of controls that hold a verb.
const controlField = "c:"

// globals are the global controls in the fields of their row.
func globals(m map[string]string) []globalArgs {
	list := []globalArgs{}
	for field, verb := range m {
		if name, ok := strings.CutPrefix(field, controlField); ok {
			list = append(list, globalArgs{name, verb, m["g:"+name]})
		}
	}
	return list
}

// Control revokes, pauses or resumes. One for every tenant goes to each in turn, several at a time, and reports
// those that it did not reach in a [*ledger.PartialError].
func (l *Ledger) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	if err := c.Valid(); err != nil {
		return ledger.Report{}, err
	}
	name, _ := c.Name()
	a := controlArgs{Now: l.clock(), Name: name, Verb: string(c.Verb), Reason: c.Reason, Nonce: nonce(), Key: c.Key != "", Narrowed: c.Key != ledger.Issued(c.Key), Global: c.Tenant == ""}
	if a.Global {
		report, err := l.controlAll(ctx, a)
		if partial := (*ledger.PartialError)(nil); err == nil || errors.As(err, &partial) {
			l.publish(ctx, c)
		}
		return report, err
	}
	if _, err := l.control(ctx, tenant(c.Tenant).controls(), tenant(c.Tenant).key(ledger.Issued(c.Key)), a); err != nil {
		return ledger.Report{}, err
	}
	l.memory.control(c.Tenant, a)
	l.publish(ctx, c)
	return ledger.Report{Tenants: []string{c.Tenant}}, nil
}

// control writes one row of controls and returns its version.
func (l *Ledger) control(ctx context.Context, controls, key string, a controlArgs) (string, error) {
	beside := metaOf(controls)[:len(metaOf(controls))-1] + "none"
	if controls == globalControls {
		beside = registry // who says that all are stopped has to know who there is
	}
	got, err := l.run(ctx, controlScript, []string{controls, key, beside}, a)
	if err != nil {
		return "", err
	}
	if got.status == "nokey" {
		return "", ledger.ErrNoKey
	}
	if err := got.expect("ok"); err != nil {
		return "", err
	}
	if controls == globalControls && got.frozen {
		return got.word(), errRegistry
	}
	return got.word(), got.err()
}

// errRegistry says that a control of every tenant may have missed some.
var errRegistry = errors.New("redisledger: the store has lost writes to the registry of tenants or to the controls that bind all of them, so the tenants that it still knows were told and others may not have been; say Rearm(ctx, \"\") and then this again")

// walkers is how many tenants are told at the same time.
const walkers = 8

func (l *Ledger) controlAll(ctx context.Context, a controlArgs) (ledger.Report, error) {
	var err error
	a.Version, err = l.control(ctx, globalControls, globalControls, a)
	lost := errors.Is(err, errRegistry)
	if err != nil && !lost {
		return ledger.Report{}, err
	}
	l.memory.control("", a)
	tenants, err := l.tenants(ctx)
	if err != nil {
		return ledger.Report{}, err
	}
	a.Global = false
	errs := make([]error, len(tenants))
	var wg sync.WaitGroup
	turn := make(chan struct{}, walkers)
	for i, name := range tenants {
		turn <- struct{}{}
		wg.Go(func() {
			t := tenant(name)
			if _, errs[i] = l.control(ctx, t.controls(), t.none(), a); errs[i] == nil {
				l.memory.control(name, a)
			}
			<-turn
		})
	}
	wg.Wait()
	report, err := reached(tenants, errs)
	if lost {
		err = errors.Join(errRegistry, err)
	}
	return report, err
}

// reached tells the tenants that were told from those that were not.
func reached(tenants []string, errs []error) (ledger.Report, error) {
	var report ledger.Report
	partial := &ledger.PartialError{}
	for i, t := range tenants {
		if errs[i] == nil {
			report.Tenants = append(report.Tenants, t)
			continue
		}
		if partial.Err == nil {
			partial.Err = errs[i]
		}
		partial.Tenants = append(partial.Tenants, t)
	}
	if partial.Err != nil {
		return report, partial
	}
	return report, nil
}

// tenants reads the registry, in steps. A tenant that is there when the reading begins is among them.
func (l *Ledger) tenants(ctx context.Context) ([]string, error) {
	type page struct {
		names  []string
		cursor uint64
	}
	var all []string
	var at page
	for {
		next, err := within(ctx, l.timeout, func(ctx context.Context) (page, error) {
			names, cursor, err := l.rdb.SScan(ctx, registry, at.cursor, "", 512).Result()
			return page{names, cursor}, err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, next.names...)
		if at = next; at.cursor == 0 {
			slices.Sort(all)
			return slices.Compact(all), nil
		}
	}
}
