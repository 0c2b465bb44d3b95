package redisledger

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// settleArgs is ARGV[1] of settle.lua.
type settleArgs struct {
	Now     string     `json:"now"`
	ID      string     `json:"id"`
	Phase   string     `json:"phase"`
	Key     string     `json:"key"`
	Layout  string     `json:"layout"` // that Go has seen
	From    string     `json:"from"`   // the object that Go has seen
	Object  string     `json:"object"` // the object afterwards
	Memo    string     `json:"memo"`   // in place of the record's; empty: that stays
	Parts   []partArgs `json:"parts"`
	Other   string     `json:"other"`   // another reservation that Go has seen carrying the object
	Version string     `json:"version"` // in which state
	Ends    bool       `json:"ends"`    // its hold goes: the reply has told the object's level
	Absorb  []partArgs `json:"absorb"`
	Left    string     `json:"left"`

	LeftKeep string `json:"leftkeep"`
	keepArgs
}

// keepArgs are the spans in milliseconds for which a finished reservation is remembered: any, one with a claim, and one
// that booked money.
type keepArgs struct {
	Keep      string `json:"keep"`
	ClaimKeep string `json:"claimkeep"`
	Remember  string `json:"remember"`
}

func (l *Ledger) keeps() keepArgs {
	return keepArgs{millis(keepPlain), millis(keepClaimed), millis(l.retain)}
}

// partArgs is one part of a reservation.
type partArgs struct {
	Row    int    `json:"row"` // index in KEYS
	Name   string `json:"name"`
	Start  string `json:"start,omitempty"`
	Stop   string `json:"stop,omitempty"`
	Back   string `json:"back,omitempty"`
	Booked string `json:"booked"` // empty: stays, which is so for calls
	Held   string `json:"held"`
	Calls  bool   `json:"calls,omitempty"`
	Money  bool   `json:"money,omitempty"`
}

// releaseArgs is ARGV[1] of release.lua.
type releaseArgs struct {
	Now    string     `json:"now"`
	ID     string     `json:"id"`
	Key    string     `json:"key"`
	Phase  string     `json:"phase"` // that the caller has seen
	Ru     string     `json:"ru"`    // until when the caller thinks that a retry may run
	Unsent bool       `json:"unsent"`
	Layout string     `json:"layout"`
	From   string     `json:"from"`
	Parts  []partArgs `json:"parts"`
	keepArgs
}

// Settle books the outcome of a call. After an error the hold stands, or the outcome is booked: saying it again
// is safe and finds out. Where Redis cannot be reached it is [ledger.ErrDeferred], see [Options.Journal].
func (l *Ledger) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if err := s.Valid(); err != nil {
		return ledger.Receipt{}, err
	}
	var receipt ledger.Receipt
	err := l.orLater(ctx, entry{Hold: h, Settle: &s}, func() (err error) {
		receipt, err = l.settle(ctx, h, s, false)
		return err
	})
	return receipt, err
}

// settle books an outcome. vouched says that h itself shows that it was acknowledged.
func (l *Ledger) settle(ctx context.Context, h ledger.Hold, s ledger.Settlement, vouched bool) (ledger.Receipt, error) {
	rec, other := record{Hold: h}, record{}
	for range tries {
		keys, args, strays, bad := l.settleArgs(rec, other, s)
		got, err := l.run(ctx, settleScript, keys, args)
		if err != nil {
			return ledger.Receipt{}, err
		}
		switch got.status {
		case "ok":
			r, err := l.receipt(got)
			if err == nil {
				l.remembers(rec, args, r.States)
			}
			if r.Over {
				l.memory.froze(h.Tenant, rec.Key)
			}
			r.Strays = strays
			return r, errors.Join(bad, err)
		case "missing":
			return ledger.Receipt{}, ledger.ErrNoHold
		case "lost":
			err = l.restore(ctx, h, vouched)
		case "settled":
			l.memory.drop(h.Tenant, h.ID)
			r, err := l.receipt(got)
			if err == nil {
				err = ledger.ErrSettled
			}
			return r, err
		case "stale":
			rec, err = l.read(ctx, h.Tenant, h.ID)
		case "carrier":
			other, err = l.other(ctx, h.Tenant, got)
		default:
			err = got.expect()
		}
		if err != nil {
			return ledger.Receipt{}, err
		}
	}
	return ledger.Receipt{}, errBusy
}

// other reads another reservation that carries the object of one that is being settled.
func (l *Ledger) other(ctx context.Context, tenant string, got *reply) (record, error) {
	id := got.word()
	if id == "" || got.bad {
		return record{}, got.err()
	}
	rec, err := l.read(ctx, tenant, id)
	if errors.Is(err, ledger.ErrNoHold) {
		rec, err = record{}, nil
	}
	rec.ID = id
	return rec, err
}

// settleArgs writes the settlement for the script. Cost that no budget of the hold counts, or that is out of
// range, turns it into a doubt: nothing is booked, nothing given back.
func (l *Ledger) settleArgs(rec, other record, s ledger.Settlement) ([]string, settleArgs, []cost.Line, error) {
	booked, strays, err := ledger.Amounts(rec.Entries, s.Actual)
	held, more, err2 := ledger.Amounts(rec.Entries, s.Held)
	if err == nil && len(strays) == 0 {
		strays, err = more, err2
	}
	t := tenant(rec.Tenant)
	a := settleArgs{
		Now: l.clock(), ID: rec.ID, Phase: string(s.Phase), Key: rec.Key, Layout: layout(rec.Entries), From: rec.Object, Object: rec.Object,
		Memo: s.MemoAfter(""), Parts: []partArgs{}, keepArgs: l.keeps(), Absorb: []partArgs{}, Other: other.ID, Version: other.version,
	}
	if s.Phase == ledger.Doubt || err != nil || len(strays) > 0 {
		a.Phase = string(ledger.Doubt)
	}
	if s.Phase == ledger.Doubt {
		strays, err = nil, nil
	}
	if s.Object != "" && a.Phase != string(ledger.Doubt) {
		a.Object = s.Object
	}
	keys := closing(t, rec)
	keys.keys = append(keys.keys, pointer(t, a.From), pointer(t, a.Object), t.none(), t.none())
	for i, e := range rec.Entries {
		row, name := place(t, rec.Key, e, keys)
		p := partArgs{Row: row, Name: name, Held: "0", Money: e.Meter.Money()}
		if e.Meter != cost.Calls && a.Phase != string(ledger.Doubt) {
			p.Booked, p.Held = digits(booked[i]), digits(held[i])
		}
		a.Parts = append(a.Parts, p)
	}
	l.otherArgs(t, other, keys, &a)
	return keys.keys, a, strays, err
}

// otherArgs says how another carrier of the object ends. Only a pending one does.
func (l *Ledger) otherArgs(t tenant, other record, keys *rows, a *settleArgs) {
	if other.ID == "" {
		return
	}
	keys.keys[8] = t.record(other.ID)
	if other.Phase != ledger.Pending {
		return
	}
	keys.keys[9] = t.key(other.Key)
	left := append([]ledger.Part(nil), other.parts...)
	for i, p := range left {
		row, name := place(t, other.Key, p.Entry, keys)
		a.Absorb = append(a.Absorb, partArgs{Row: row, Name: name, Start: digits(p.Start), Stop: digits(p.End), Back: back(p.Of), Held: digits(p.Held)})
		left[i].Held = 0
	}
	a.Ends, a.Left, a.LeftKeep = true, pack(left), millis(l.keep(other))
}

// closing are the first six of the keys of settle, release and adjust.
func closing(t tenant, rec record) *rows {
	return newRows(t.record(rec.ID), t.key(rec.Key), t.open(), t.pending(), t.alerts(), t.alertTexts())
}

// pointer is the key that says who carries an object.
func pointer(t tenant, object string) string {
	if object == "" {
		return t.none()
	}
	return t.object(object)
}

// receipt reads the answer of settle.lua and adjust.lua.
func (l *Ledger) receipt(got *reply) (ledger.Receipt, error) {
	l.seen(got.number())
	r := ledger.Receipt{Over: got.word() == "1"}
	text := got.word()
	at := got.windows()
	if err := got.err(); err != nil {
		return ledger.Receipt{}, err
	}
	var f fixed
	if text != "" {
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return ledger.Receipt{}, errReply
		}
	}
	if len(f.Budgets) != len(at) {
		return ledger.Receipt{}, errReply
	}
	for i, w := range at {
		r.States = append(r.States, w.state(f.Budgets[i].load()))
	}
	return r, nil
}

// Release gives a hold back. After an error it may or may not have been: saying it again is safe. Where Redis cannot
// be reached it is [ledger.ErrDeferred], see [Options.Journal].
func (l *Ledger) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if h.Attached {
		return nil
	}
	return l.orLater(ctx, entry{Hold: h, Unsent: unsent}, func() error { return l.release(ctx, h, unsent) })
}

func (l *Ledger) release(ctx context.Context, h ledger.Hold, unsent bool) error {
	rec := record{Hold: h}
	for range tries {
		keys, args := l.releaseArgs(rec, h.Phase, unsent)
		if !h.RetryUntil.IsZero() {
			args.Ru = digits(h.RetryUntil.UnixMicro())
		}
		got, err := l.run(ctx, releaseScript, keys, args)
		if err != nil {
			return err
		}
		switch got.status {
		case "ok":
			if k, ok := l.memory.hold(h.Tenant, h.ID); ok {
				if len(got.rest) == 0 {
					k = afterRelease(k, unsent)
				} else if k.Phase == ledger.InFlight {
					k.Phase = ledger.Doubt
				}
				l.memory.keep(k.record, nil, l.estimate())
			}
			return nil
		case "settled":
			return ledger.ErrSettled
		case "stale":
			if rec, err = l.read(ctx, h.Tenant, h.ID); err != nil {
				return err
			}
		default:
			return got.expect()
		}
	}
	return errBusy
}

func (l *Ledger) releaseArgs(rec record, seen ledger.Phase, unsent bool) ([]string, releaseArgs) {
	t := tenant(rec.Tenant)
	a := releaseArgs{
		Now: l.clock(), ID: rec.ID, Key: rec.Key, Phase: string(seen), Unsent: unsent, Layout: layout(rec.Entries), From: rec.Object,
		Parts: []partArgs{}, keepArgs: l.keeps(),
	}
	keys := closing(t, rec)
	keys.keys = append(keys.keys, pointer(t, rec.Object))
	for _, e := range rec.Entries {
		row, name := place(t, rec.Key, e, keys)
		a.Parts = append(a.Parts, partArgs{Row: row, Name: name, Held: "0", Calls: e.Meter == cost.Calls, Money: e.Meter.Money()})
	}
	return keys.keys, a
}
