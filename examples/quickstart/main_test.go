package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
)

// read reads what -json prints: every line is JSON, and the last, and no other, is the summary.
func read(t *testing.T, text string) (calls []callLine, last summary) {
	t.Helper()
	for line := range strings.Lines(text) {
		if last.Type != "" {
			t.Fatalf("%q comes after the summary", line)
		}
		var e event
		var c callLine
		err := json.Unmarshal([]byte(line), &e)
		switch e.Type {
		case "call":
			err = json.Unmarshal([]byte(line), &c)
			calls = append(calls, c)
		case "summary":
			err = json.Unmarshal([]byte(line), &last)
		case "scene", "control", "note":
		default:
			t.Fatalf("a line of type %q", e.Type)
		}
		if err != nil {
			t.Fatalf("%v in line %q", err, line)
		}
	}
	if last.Type == "" {
		t.Fatal("there is no summary")
	}
	return calls, last
}

func micros(t *testing.T, amount string) int64 {
	t.Helper()
	number, ok := strings.CutSuffix(amount, " USD")
	n, err := cost.ParseDecimal(number)
	if err != nil || !ok {
		t.Fatalf("%q is not an amount of USD", amount)
	}
	return n
}

// The whole story, in JSON: the lines of the calls add up to the summary, and the summary is what the scenes are about.
func TestTheLinesAddUpToTheSummary(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"-json"}); err != nil {
		t.Fatal(err)
	}
	calls, last := read(t, out.String())
	want := []sum{
		{"careful", 3, 3, 0, 0, "20.0092 USD", "0.00 USD", "20.0092 USD"},
		{"looping", 150, 4, 146, 0, "80.00 USD", "0.00 USD", "80.00 USD"},
		{"parallel", 150, 4, 146, 0, "80.00 USD", "0.00 USD", "80.00 USD"},
		{"curious", 2, 0, 2, 0, "0.00 USD", "0.00 USD", "0.00 USD"},
		{"roaming", 1, 0, 1, 0, "0.00 USD", "0.00 USD", "0.00 USD"},
		{"stopped", 2, 1, 1, 0, "20.00 USD", "0.00 USD", "20.00 USD"},
		{"neighbour", 2, 2, 0, 0, "40.00 USD", "0.00 USD", "40.00 USD"},
		{"retrying", 2, 2, 0, 0, "20.00 USD", "0.00 USD", "20.00 USD"},
		{"waiting", 2, 2, 0, 2, "0.00 USD", "0.0092 USD", "0.0083 USD"},
	}
	if !slices.Equal(last.Runs, want) {
		t.Errorf("the runs are\n%+v\nand not\n%+v", last.Runs, want)
	}
	all := sum{"", 314, 18, 296, 2, "260.0092 USD", "0.0092 USD", "260.0175 USD"}
	if last.sum != all || !last.Agree {
		t.Errorf("the summary is %+v, agree %v, and not %+v", last.sum, last.Agree, all)
	}
	for _, w := range append(want, all) {
		got := sum{Run: w.Run, InDoubt: w.InDoubt, Held: w.Held, Executed: w.Executed} // not in the lines
		var spent int64
		for _, c := range calls {
			switch {
			case w.Run != "" && c.Run != w.Run:
				continue
			case c.Verdict == "deny":
				got.Denied++
			case c.Outcome == "in_doubt":
				got.Forwarded++
			default:
				got.Forwarded++
				spent += micros(t, c.Actual)
			}
			got.Calls++
		}
		if got.Spent = usd(spent); got != w {
			t.Errorf("run %q: the lines add up to %+v, not %+v", w.Run, got, w)
		}
	}
}

// The same for people: each line of a kind is printed or counted, and the table is there.
func TestTheTableIsForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &out, nil); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{"looping", "parallel"} {
		printed, counted := 0, 0
		for line := range strings.Lines(out.String()) {
			if !strings.HasPrefix(line, "  "+run) || !strings.Contains(line, "stripe.refunds.create") {
				continue
			}
			more := 0
			if _, rest, ok := strings.Cut(line, " and "); ok {
				_, _ = fmt.Sscanf(rest, "%d more", &more)
			}
			if more == 0 {
				printed++
			}
			counted += more
		}
		if printed != 8 || printed+counted != 150 {
			t.Errorf("run %s: %d lines printed, %d counted, of 150", run, printed, counted)
		}
	}
	for _, want := range []string{
		"  all          ", "260.0092 USD   0.0092 USD    260.0175 USD", "The books and the vendor agree.",
		"operation_denied", "operation_hard_denied", "country_denied", "key_revoked", "in_doubt", "executed (retry)",
		"-- revoke tenant:acme run:stopped: it refunds the wrong orders", "for a person to look up",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q", want)
		}
	}
	for vendor, secret := range secrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the output holds the credential of %s", vendor)
		}
	}
}

// Whoever goes behind the brake's back is found out, in each of the ways in which the witnesses can disagree.
func TestTheBooksDisagreeWithTheVendor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meddle func(*stage, context.Context) error
		want   string
	}{
		"when a run's money moves without the brake": {
			func(s *stage, ctx context.Context) error { return s.behindTheBack(ctx, "ch_careful") },
			"run careful: the vendor executed 40.0092 USD and the books say 20.0092 USD",
		},
		"when money moves that no run asked for": {
			func(s *stage, ctx context.Context) error {
				s.fake.SeedCharge("ch_other", 500_000, "usd")
				return s.behindTheBack(ctx, "ch_other")
			},
			"the vendor executed 20.00 USD for no run",
		},
		"when a record is lost": {
			func(s *stage, _ context.Context) error { s.tell.runs["careful"].recorded = 0; return nil },
			"run careful: the records say that 0.00 USD is spent, and the ledger 20.0092 USD",
		},
		"when a call has no outcome": {
			func(s *stage, _ context.Context) error { s.tell.open["r1"] = true; return nil },
			"1 calls have an intent on record and no outcome",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := play(t.Context(), &out, true, []scene{story[0], {"meddling", c.meddle}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, last := read(t, out.String()); last.Agree {
				t.Error("the summary says that they agree")
			}
		})
	}
}

// behindTheBack refunds 20.00 USD with the real credential.
func (s *stage) behindTheBack(ctx context.Context, charge string) error {
	form := url.Values{"charge": {charge}, "amount": {"2000"}}
	req, err := http.NewRequestWithContext(ctx, "POST", "https://api.stripe.com/v1/refunds", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+secrets["stripe"])
	resp, err := (&http.Client{Transport: s.fake.Transport()}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// What may and what may not be between a run's witnesses.
func TestABalanceIsWrong(t *testing.T) {
	doubt := tally{recorded: 20, doubts: map[string]bool{"r1": true}}
	for name, c := range map[string]struct {
		balance balance
		wrong   bool
	}{
		"not when all are equal":                  {balance{tally: tally{recorded: 20}, limit: 80, spent: 20, executed: 20}, false},
		"when less was executed than is spent":    {balance{tally: tally{recorded: 20}, limit: 80, spent: 20, executed: 19}, true},
		"when something is held without a doubt":  {balance{tally: tally{recorded: 20}, limit: 80, spent: 20, held: 1, executed: 20}, true},
		"not when the doubt was not executed":     {balance{tally: doubt, inDoubt: 1, limit: 80, spent: 20, held: 5, executed: 20}, false},
		"not when the doubt was executed":         {balance{tally: doubt, inDoubt: 1, limit: 80, spent: 20, held: 5, executed: 25}, false},
		"when more was executed than is held":     {balance{tally: doubt, inDoubt: 1, limit: 80, spent: 20, held: 5, executed: 26}, true},
		"when the books forget what was executed": {balance{tally: doubt, inDoubt: 1, limit: 80, spent: 20, held: 5, executed: 19}, true},
		"when the ledger knows of no doubt":       {balance{tally: doubt, limit: 80, spent: 20, executed: 20}, true},
		"when the limit is passed":                {balance{tally: tally{recorded: 81}, limit: 80, spent: 81, executed: 81}, true},
	} {
		if why := c.balance.wrong(); (why != "") != c.wrong {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestArguments(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"-h"}); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-json") {
		t.Errorf("%v, %q", err, out.String())
	}
	for _, args := range [][]string{{"-xml"}, {"now"}} {
		if err := run(t.Context(), io.Discard, args); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
