package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/reason"
)

func ExampleJSON() {
	s := audit.JSON(os.Stdout)
	err := s.Write(context.Background(), audit.Record{
		Version: 1, ID: "rec_1", Time: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Kind: audit.Denied,
		Run: "run_42", Operation: "stripe.refunds.create", Verdict: audit.Deny, Reason: reason.BudgetExceeded,
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"v":1,"id":"rec_1","time":"2026-11-24T12:00:00Z","kind":"denied","run":"run_42","operation":"stripe.refunds.create","verdict":"deny","reason":"budget_exceeded"}
}

// The records of a day's refusals, from the lines of a file. A line that was cut is named and passed over.
func ExampleRead() {
	file := strings.NewReader(`{"v":1,"id":"rec_1","time":"2026-11-24T12:00:00Z","kind":"denied","operation":"stripe.refunds.create"}
{"v":1,"id":"rec_2","ti`)
	for r, err := range audit.Read(file) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(r.ID, r.Kind, r.Operation)
	}
	// Output:
	// rec_1 denied stripe.refunds.create
	// audit: line 2: it is no record: unexpected end of JSON input
}

// Somebody has taken a line out of the file.
func ExampleVerify() {
	public, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var text bytes.Buffer
	sink := audit.Chain(audit.JSON(&text), signing)
	for _, id := range []string{"rec_1", "rec_2", "rec_3"} {
		if err := sink.Write(context.Background(), audit.Record{Version: 1, ID: id, Kind: audit.Denied}); err != nil {
			fmt.Println(err)
		}
	}
	all := strings.SplitAfter(text.String(), "\n")
	lines, kept := strings.NewReader(all[0]+all[2]), map[string]audit.Head(nil)

	verified, err := audit.Verify(audit.Read(lines), &audit.VerifyOptions{
		Keys:  []ed25519.PublicKey{public},
		Until: kept, // the Heads of the last time
	})
	var bad *audit.Tampered
	if errors.As(err, &bad) {
		fmt.Println("record", bad.Index, "is the first bad one:", bad.Why)
	}
	fmt.Println(verified.Records, "before it are whole")
	// Output:
	// record 1 is the first bad one: removed: numbers 2 to 2 are missing before it
	// 1 before it are whole
}

// Records in a file that is rotated by size, each tied to the one before.
func ExampleFile() {
	var signing ed25519.PrivateKey // from your secret store

	file := audit.File("/var/log/keybrake/audit.jsonl", &audit.FileOptions{MaxBytes: 100 << 20})
	sink := audit.Chain(file, signing) // Config.Audit; signing is an ed25519.PrivateKey
	_ = sink
}

// A store that is out refuses calls; what became of those before waits on the disk.
func ExampleChain_outbox() {
	var store audit.Sink           // a database, say
	var signing ed25519.PrivateKey // from your secret store

	box := audit.Outbox(store, "/var/lib/keybrake/outbox", nil)
	sink := audit.Chain(box, signing) // Config.Audit
	_ = sink
}

// A file must take every record before a call is forwarded; the log gets them too, when it can.
func ExampleTee() {
	var file audittest.Recorder
	s := audit.Tee(&file, audit.InsecureBestEffort(audit.Slog(slog.New(slog.DiscardHandler))))
	fmt.Println(s.Write(context.Background(), audit.Record{ID: "rec_1"}), len(file.Records()))
	// Output: <nil> 1
}

func ExampleSlog() {
	l := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "time" {
			return slog.Attr{}
		}
		return a
	}}))
	_ = audit.Slog(l).Write(context.Background(), audit.Record{Version: 1, ID: "e1", Kind: audit.Control, Tenant: "acme", Detail: "issued"})
	// Output: level=INFO msg="keybrake control" v=1 id=e1 tenant=acme detail=issued
}

// Calls go on that this sink has no record of, which the name says.
func ExampleInsecureBestEffort() {
	var full audittest.Recorder
	full.Fail(errors.New("the disk is full"))
	sink := audit.InsecureBestEffort(&full)
	fmt.Println(sink.Write(context.Background(), audit.Record{}))
	// Output: <nil>
}

func ExampleInsecureDiscard() {
	fmt.Println(audit.InsecureDiscard().Write(context.Background(), audit.Record{}))
	// Output: <nil>
}

// Sinks that hang cannot pile up: at most 64 writes of one guarded sink are under way.
func ExampleGuard() {
	var recorder audittest.Recorder
	fmt.Println(audit.Guard(&recorder).Write(context.Background(), audit.Record{ID: "rec_1"}), len(recorder.Records()))
	// Output: <nil> 1
}
