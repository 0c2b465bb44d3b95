package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A balance is what three witnesses say of one run, in micro-USD: the trail of records, the ledger, and the vendor's
// own log of what it executed.
type balance struct {
	run                string
	tally                    // of the records
	limit, spent, held int64 // in the ledger
	inDoubt            int   // reservations, in the ledger
	executed           int64 // at the vendor
}

// compared says in words what wrong does.
const compared = `Compared, for each run, with the vendor's own log of what it executed, to the micro-dollar:
  nothing in doubt   executed = spent, and nothing is held
  calls in doubt     spent <= executed <= spent + held
  always             executed <= limit; the records add up to the ledger; each intent has its outcome
Nothing may be executed for nobody.
`

// wrong is how the witnesses contradict each other, or empty.
func (b balance) wrong() string {
	switch {
	case b.executed > b.limit:
		return fmt.Sprintf("the vendor executed %s and the limit is %s", usd(b.executed), usd(b.limit))
	case b.inDoubt == 0 && b.executed != b.spent:
		return fmt.Sprintf("the vendor executed %s and the books say %s", usd(b.executed), usd(b.spent))
	case b.executed < b.spent || b.executed > b.spent+b.held:
		return fmt.Sprintf("the vendor executed %s and the books say from %s to %s", usd(b.executed), usd(b.spent), usd(b.spent+b.held))
	case b.inDoubt == 0 && b.held != 0:
		return fmt.Sprintf("%s is held and nothing is in doubt", usd(b.held))
	case b.recorded != b.spent:
		return fmt.Sprintf("the records say that %s is spent, and the ledger %s", usd(b.recorded), usd(b.spent))
	case len(b.doubts) != b.inDoubt:
		return fmt.Sprintf("the records leave %d reservations in doubt, and the ledger %d", len(b.doubts), b.inDoubt)
	}
	return ""
}

// closing hears the witnesses, prints the table and says where they disagree.
func (s *stage) closing(ctx context.Context) error {
	balances, err := s.balances(ctx)
	if err != nil {
		return err
	}
	var wrongs []error
	if n := len(s.tell.open); n > 0 {
		wrongs = append(wrongs, fmt.Errorf("%d calls have an intent on record and no outcome", n))
	}
	stray := s.executed("")
	if stray != 0 {
		wrongs = append(wrongs, fmt.Errorf("the vendor executed %s for no run", usd(stray)))
	}
	for _, b := range balances {
		if why := b.wrong(); why != "" {
			wrongs = append(wrongs, fmt.Errorf("run %s: %s", b.run, why))
		}
	}
	err = errors.Join(wrongs...)
	if err != nil {
		err = fmt.Errorf("the books disagree with the vendor: %w", err)
	}
	return errors.Join(err, s.tell.closing(balances, stray, err == nil))
}

// balances asks the ledger and the vendor about every run.
func (s *stage) balances(ctx context.Context) ([]balance, error) {
	holds, err := s.brake.InDoubt(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var balances []balance
	for _, a := range s.agents {
		states, err := s.brake.Balance(ctx, a.key.Token())
		if err != nil {
			return nil, err
		}
		purse := states[0] // a run has one budget
		b := balance{run: a.run, limit: purse.Limit, spent: purse.Spent, held: purse.Held, executed: s.executed(a.charge)}
		if t := s.tell.runs[a.run]; t != nil {
			b.tally = *t
		}
		for _, h := range holds {
			if h.Key == a.key.ID {
				b.inDoubt++
			}
		}
		balances = append(balances, b)
	}
	return balances, nil
}

// executed adds up what the vendor executed on requests that name charge, or with "" on those that name none of the
// runs' charges. The vendor knows nothing of runs, and is asked about nothing that the brake has told it.
func (s *stage) executed(charge string) (micros int64) {
	received := s.fake.Received()
	for _, e := range s.fake.Executions() {
		if e.Money && s.named(string(received[e.Request].Body)) == charge {
			micros += e.Amount
		}
	}
	return micros
}

func (s *stage) named(body string) string {
	for _, a := range s.agents {
		if strings.Contains(body, a.charge) {
			return a.charge
		}
	}
	return ""
}

// A sum is one line of the summary: a run's, or that of all.
type sum struct {
	Run       string `json:"run,omitempty"`
	Calls     int    `json:"calls"`
	Forwarded int    `json:"forwarded"`
	Denied    int    `json:"denied"`
	InDoubt   int    `json:"in_doubt"`
	Spent     string `json:"spent"`
	Held      string `json:"held"`
	Executed  string `json:"executed"`
}

// A summary is the last line of -json.
type summary struct {
	Type string `json:"type"`
	sum
	Agree bool  `json:"agree"`
	Runs  []sum `json:"runs"`
}

func (b balance) sum() sum {
	return sum{b.run, b.calls, b.forwarded, b.denied, b.inDoubt, usd(b.spent), usd(b.held), usd(b.executed)}
}

func (n *narrator) closing(balances []balance, stray int64, agree bool) error {
	all := balance{executed: stray}
	out := summary{Type: "summary", Agree: agree}
	for _, b := range balances {
		all.calls, all.forwarded, all.denied, all.inDoubt = all.calls+b.calls, all.forwarded+b.forwarded, all.denied+b.denied, all.inDoubt+b.inDoubt
		all.spent, all.held, all.executed = all.spent+b.spent, all.held+b.held, all.executed+b.executed
		out.Runs = append(out.Runs, b.sum())
	}
	if out.sum = all.sum(); n.asJSON {
		return n.encode(out)
	}
	const format = "  %-9s  %6v  %9v  %6v  %8v  %14s  %11s  %14s\n"
	fmt.Fprintf(n.out, "the books\n"+format, "run", "calls", "forwarded", "denied", "in doubt", "spent", "held", "executed")
	out.Run = "all"
	for _, s := range append(out.Runs, out.sum) {
		fmt.Fprintf(n.out, format, s.Run, s.Calls, s.Forwarded, s.Denied, s.InDoubt, s.Spent, s.Held, s.Executed)
	}
	result := "The books and the vendor agree."
	if !agree {
		result = "The books and the vendor do not agree."
	}
	_, err := fmt.Fprintf(n.out, "\n%s%s\n", compared, result)
	return err
}
