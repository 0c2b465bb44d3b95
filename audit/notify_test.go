package audit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

// notifier is a func as a Notifier.
type notifier func(context.Context, audit.Event) error

func (n notifier) Notify(ctx context.Context, e audit.Event) error { return n(ctx, e) }

func TestNotifyContainsTheNotifier(t *testing.T) {
	own := errors.New("my own")
	var none *audit.Event
	for what, c := range map[string]struct {
		n    notifier
		want error
	}{
		"one that tells":           {func(context.Context, audit.Event) error { return nil }, nil},
		"one that fails":           {func(context.Context, audit.Event) error { return own }, own},
		"one that panics":          {func(context.Context, audit.Event) error { panic("sk_live_secret") }, audit.ErrNotNotified},
		"one with a nil pointer":   {func(context.Context, audit.Event) error { none.ID = ""; return nil }, audit.ErrNotNotified},
		"one that ends its thread": {func(context.Context, audit.Event) error { runtime.Goexit(); return nil }, audit.ErrNotNotified},
	} {
		done := make(chan struct{})
		err := audit.Notify(t.Context(), c.n, someEvent(), func() { close(done) })
		if !errors.Is(err, c.want) || err != nil && strings.Contains(err.Error(), "sk_live") {
			t.Errorf("%s: %v", what, err)
		}
		<-done
	}
	free := make(chan struct{})
	done := make(chan struct{})
	over := time.AfterFunc(10*time.Second, func() { close(free) })
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(own)
	err := audit.Notify(ctx, notifier(func(context.Context, audit.Event) error { <-free; return nil }), someEvent(), func() { close(done) })
	if !errors.Is(err, own) {
		t.Errorf("one that hangs: %v", err)
	}
	select {
	case <-done:
		t.Error("it is done before it has returned")
	default:
	}
	if over.Stop() {
		close(free)
	}
	<-done
}

func TestNotifySlogLine(t *testing.T) {
	var b bytes.Buffer
	if err := audit.NotifySlog(logger(&b, slog.LevelWarn)).Notify(t.Context(), someEvent()); err != nil {
		t.Fatal(err)
	}
	want := `time=2026-11-24T23:59:59.000Z level=ERROR msg="keybrake: the vendor took <more>" v=1 id=ev_1 kind=overrun tenant=acme agent=refund-bot run=run_42 key=key_1 call=call_1 ` +
		`operation=stripe.refunds.create reason=budget_exceeded budget="team 1.00 USD left of 10.00 USD" percent=90 excess="spend 4.00 USD" held="outflow 20.00 USD" since=2026-11-24T22:59:59.000Z waiting=3` + "\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for i := range reflect.TypeFor[audit.Event]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[audit.Event]().Field(i).Tag.Get("json"), ",")
		if name != "text" && !strings.Contains(b.String(), " "+name+"=") && !strings.HasPrefix(b.String(), name+"=") {
			t.Errorf("%s is missing in %s", name, b.String())
		}
	}
}

// An event that the logger would drop counts as not told.
func TestNotifySlogFailsWhereTheLoggerDrops(t *testing.T) {
	var b bytes.Buffer
	n := audit.NotifySlog(logger(&b, slog.LevelError))
	for _, k := range []audit.EventKind{audit.BudgetThreshold, audit.FirstDenial, audit.StillInDoubt} {
		if n.Notify(t.Context(), audit.Event{Kind: k}) == nil {
			t.Errorf("%s is told to nobody", k)
		}
	}
	for _, k := range []audit.EventKind{audit.Overrun, audit.KeyFrozen, audit.SinkTrouble} {
		if err := n.Notify(t.Context(), audit.Event{Kind: k, Text: "\x1b[31m"}); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
	if got := b.String(); strings.Count(got, "level=ERROR") != 3 || strings.Contains(got, "\x1b") {
		t.Errorf("logged %s", got)
	}
}
