package sqliteledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// commanded are controls of every kind.
var commanded = []ledger.Control{
	{Verb: ledger.Pause, Tenant: acme, Key: "k", Reason: "looks odd"},
	{Verb: ledger.Resume, Tenant: acme, Key: "k"},
	{Verb: ledger.Revoke, Tenant: acme, Run: "run:of: colons"},
	{Verb: ledger.Revoke, Tenant: acme, Agent: "a"},
	{Verb: ledger.Pause, Tenant: acme, Label: "l"},
	{Verb: ledger.Pause, Tenant: "other", Vendor: "v"},
	{Verb: ledger.Pause, Vendor: "v", Reason: "their outage"},
	{Verb: ledger.Pause, Tenant: acme},
	{Verb: ledger.Resume, Tenant: acme, All: true},
	{Verb: ledger.Revoke, All: true},
}

// command makes all of commanded and ends.
func command(path string) {
	l := sqliteledger.New(path, &sqliteledger.Options{Timeout: time.Minute})
	var errs []error
	for _, c := range commanded {
		_, err := l.Control(ctx, c)
		errs = append(errs, err)
	}
	fmt.Println(errors.Join(append(errs, l.Close())...))
}

// watched watches l until the test says that it is done, and has begun when watched returns.
func watched(t *testing.T, l *sqliteledger.Ledger) (heard chan ledger.Control, done func() error) {
	t.Helper()
	watch, end := context.WithCancelCause(ctx)
	heard, ended := make(chan ledger.Control, 100), make(chan error, 1)
	go func() { ended <- l.Watch(watch, func(c ledger.Control) { heard <- c }) }()
	deadline := time.Now().Add(20 * time.Second)
	for begun := false; !begun; {
		if time.Now().After(deadline) {
			t.Fatal("who watches hears nothing")
		}
		_, err := l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Run: "begin"})
		must(t, err)
		select {
		case <-heard:
			begun = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	_, err := l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Run: "begun"})
	must(t, err)
	for c := range heard {
		if c.Run == "begun" {
			break
		}
	}
	t.Cleanup(func() { end(nil) })
	return heard, func() error {
		end(errDone)
		return <-ended
	}
}

// hears expects that want is what is heard next.
func hears(t *testing.T, name string, heard chan ledger.Control, want ledger.Control) {
	t.Helper()
	for {
		select {
		case got := <-heard:
			if got.Run == "begin" || got.Run == "begun" {
				continue // of another watcher's beginning
			}
			if got != want {
				t.Fatalf("%s heard %+v, want %+v", name, got, want)
			}
			return
		case <-time.After(20 * time.Second):
			t.Fatalf("%s never heard %+v", name, want)
		}
	}
}

var errDone = errors.New("done")

func TestWhoWatchesHearsEachControlOfEachProcessOnceAndInOrder(t *testing.T) {
	path := fresh(t)
	here, alsoHere := opened(t, path, 10), at(t, path, nil)
	one, endOne := watched(t, here)
	two, endTwo := watched(t, alsoHere)
	_, err := here.Control(ctx, ledger.Control{Verb: ledger.Pause, Tenant: acme, Key: "nobody"})
	if !errors.Is(err, ledger.ErrNoKey) { // and nobody hears of it
		t.Fatal(err)
	}
	c := spawn(t, "command", path)
	if c.out.Scan(); c.out.Text() != "<nil>" {
		t.Fatalf("the other process says %q", c.out.Text())
	}
	said := commanded
	for _, run := range []string{"and this", "and that"} { // the second comes when all before it was told: once, that is
		c := ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: run}
		_, err = here.Control(ctx, c)
		must(t, err)
		for name, heard := range map[string]chan ledger.Control{"one": one, "two": two} {
			for _, want := range append(said[:len(said):len(said)], c) {
				hears(t, name, heard, want)
			}
		}
		said = nil
	}
	for _, end := range []func() error{endOne, endTwo} {
		if err := end(); !errors.Is(err, errDone) {
			t.Errorf("Watch ended with %v", err)
		}
	}
}

func TestWatchWaitsOutAFileThatCannotBeRead(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	heard, done := watched(t, l)
	must(t, os.Rename(path, path+".away"))
	time.Sleep(250 * time.Millisecond) // so that it has asked; if it has not, the test is easier
	must(t, os.Rename(path+".away", path))
	want := ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: "later"}
	_, err := l.Control(ctx, want)
	must(t, err)
	hears(t, "it", heard, want)
	if err := done(); !errors.Is(err, errDone) {
		t.Errorf("Watch ended with %v", err)
	}
}

func TestWatchEndsWithItsContextOrSaysWhyItCannotWatch(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	over, end := context.WithCancelCause(ctx)
	end(errDone)
	never := func(c ledger.Control) { t.Errorf("told of %+v", c) }
	if err := l.Watch(over, never); !errors.Is(err, errDone) {
		t.Errorf("with a context that is over: %v", err)
	}
	none := at(t, fresh(t)+"/there/is/none.db", nil)
	if err := none.Watch(ctx, never); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a file: %v", err)
	}
	ended := make(chan error, 1)
	begun := make(chan bool, 100)
	go func() { ended <- l.Watch(ctx, func(ledger.Control) { begun <- true }) }()
	until(t, "it watches", func() bool {
		_, err := l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme})
		must(t, err)
		time.Sleep(5 * time.Millisecond)
		return len(begun) > 0
	})
	must(t, l.Close())
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}
