package sqliteledger_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// The test binary runs itself again as another process that uses the same file.
const roleEnv, pathEnv = "SQLITELEDGER_ROLE", "SQLITELEDGER_PATH"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "race", "race rolling", "race repeat":
		race(os.Getenv(roleEnv), os.Getenv(pathEnv))
	case "steps":
		steps(os.Getenv(pathEnv))
	case "command":
		command(os.Getenv(pathEnv))
	case "flood":
		flood(os.Getenv(pathEnv))
	default:
		os.Exit(m.Run())
	}
}

// A child is another process.
type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func spawn(t *testing.T, role, path string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], "-test.run=^$")}
	c.Env = append(os.Environ(), roleEnv+"="+role, pathEnv+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	c.in, err = c.StdinPipe()
	must(t, err)
	c.out = bufio.NewScanner(out)
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill() // an error: it has ended
		_ = c.Wait()
	})
	return c
}

const (
	racers     = 4  // processes
	threads    = 16 // goroutines in each
	turns      = 4  // reserves of each
	raceAmount = 3
	raceLimit  = 400 // covers 133 of the 256
)

// race makes the books together with the others, waits for the start and reserves as fast as it can.
func race(role, path string) {
	l := sqliteledger.New(path, &sqliteledger.Options{Timeout: time.Minute})
	budget := team(raceLimit)
	if role == "race rolling" {
		budget.Window = cost.Rolling(time.Hour) // its slot of a minute may change on the way
	}
	if role == "race repeat" {
		budget.Limit = cost.Max
	}
	err := errors.Join(l.Check(ctx), l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}), l.SetBudget(ctx, acme, budget))
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin) // ends when the parent closes it
	var wg sync.WaitGroup
	var admitted, wrong atomic.Int64
	for range threads {
		wg.Go(func() {
			for range turns {
				r := pay(raceAmount)
				r.ID = fmt.Sprint(os.Getpid(), r.ID)
				if role == "race repeat" {
					r.Repeat = &ledger.Repeat{ID: "again", Most: raceLimit / raceAmount, Window: time.Hour}
				}
				_, err := l.Reserve(ctx, r)
				if d := (*ledger.Denied)(nil); err == nil {
					admitted.Add(1)
				} else if !errors.As(err, &d) {
					fmt.Fprintln(os.Stderr, err)
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	fmt.Println(admitted.Load(), wrong.Load(), errors.Join(err, l.Close()))
}

func TestFourProcessesOnOneFileAdmitExactlyWhatFits(t *testing.T) {
	for _, role := range []string{"race", "race rolling", "race repeat"} {
		t.Run(role, func(t *testing.T) {
			path := fresh(t)
			var children []*child
			for range racers {
				children = append(children, spawn(t, role, path))
			}
			for _, c := range children {
				if !c.out.Scan() || c.out.Text() != "ready" {
					t.Fatalf("a child said %q: %v", c.out.Text(), c.out.Err())
				}
			}
			for _, c := range children {
				must(t, c.in.Close())
			}
			total := 0
			for _, c := range children {
				var admitted, wrong int
				var err string
				c.out.Scan()
				if n, _ := fmt.Sscan(c.out.Text(), &admitted, &wrong, &err); n != 3 || wrong != 0 || err != "<nil>" {
					t.Errorf("a child said %q: want so many admitted, none wrong and no error", c.out.Text())
				}
				total += admitted
			}
			if want := raceLimit / raceAmount; total != want {
				t.Errorf("%d calls were admitted, want %d", total, want)
			}
			l := at(t, path, nil)
			stands(t, l, 0, int64(total*raceAmount))
		})
	}
}

// flood reserves 1 again and again, settles every third, and says so on its output once that is acknowledged.
func flood(path string) {
	l := sqliteledger.New(path, &sqliteledger.Options{Timeout: time.Minute})
	for range threads {
		go func() {
			for i := 0; ; i++ {
				r := pay(1)
				r.ID, r.Deadline = fmt.Sprint(os.Getpid(), r.ID), 0
				h, err := l.Reserve(ctx, r)
				verb := "reserved"
				if err == nil && i%3 == 0 {
					fmt.Printf("reserved %s\n", r.ID)
					_, err = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(1)})
					verb = "settled"
				}
				if err != nil {
					fmt.Printf("failed %v\n", err)
					return
				}
				fmt.Printf("%s %s\n", verb, r.ID)
			}
		}()
	}
	select {}
}

// killed lets another process work on the file until it has acknowledged so many verbs, kills it in the middle of
// the next ones, and returns what it has acknowledged: by id, in which phase.
func killed(t *testing.T, path string, acks int) map[string]ledger.Phase {
	t.Helper()
	c := spawn(t, "flood", path)
	seen := map[string]ledger.Phase{}
	for n := 0; c.out.Scan(); n++ { // what is in the pipe when it dies was acknowledged, too
		verb, id, _ := strings.Cut(c.out.Text(), " ")
		switch verb {
		case "reserved":
			seen[id] = ledger.InFlight
		case "settled":
			seen[id] = ledger.Settled
		default:
			t.Fatal(c.out.Text())
		}
		if n == acks {
			must(t, c.Process.Kill())
		}
	}
	_ = c.Wait()
	return seen
}

func TestNothingAcknowledgedIsLostToAKill(t *testing.T) {
	path := fresh(t)
	must(t, opened(t, path, cost.Max).Close())
	all := map[string]ledger.Phase{}
	for round := range 4 {
		for id, phase := range killed(t, path, 150+50*round) {
			all[id] = phase
		}
		l := at(t, path, nil)
		must(t, l.Check(ctx))
		for id, phase := range all {
			h, err := l.Find(ctx, acme, id)
			if err != nil || h.Phase != phase && (phase != ledger.InFlight || h.Phase != ledger.Settled) {
				t.Errorf("%s was acknowledged as %s and is %q after the kill: %v", id, phase, h.Phase, err)
			}
		}
		agrees(t, l)
		must(t, l.Close())
	}
}

// agrees expects the amounts to be those of the reservations, each of which is for 1: a verb is there as a whole
// or not at all.
func agrees(t *testing.T, l *sqliteledger.Ledger) {
	t.Helper()
	open, err := l.InDoubt(ctx, acme)
	must(t, err)
	states, err := l.Balance(ctx, acme, "k", []ledger.Budget{purse(cost.Max), {Name: "team", Shared: true, Limit: ledger.NoLimit}})
	must(t, err)
	for _, s := range states {
		if s.Held != int64(len(open)) || s.Spent != states[0].Spent {
			t.Errorf("%s holds %d and has spent %d; %d reservations of 1 are open, and the other budget has spent %d", s.Name, s.Held, s.Spent, len(open), states[0].Spent)
		}
	}
}

// A power cut may leave any part of what was not yet synced. Whatever is left of the log, the books agree.
func TestATornLogLeavesWholeVerbs(t *testing.T) {
	path := fresh(t)
	must(t, opened(t, path, cost.Max).Close())
	killed(t, path, 100)
	books, err := os.ReadFile(path)
	must(t, err)
	log, err := os.ReadFile(path + "-wal")
	must(t, err)
	const frame = 24 + 4096
	for _, cut := range []int{0, 31, 32, 33, 32 + frame, len(log) / 3, len(log) / 2, len(log)/2 + 1234, len(log) - 5*frame, len(log) - frame, len(log) - 1, len(log)} {
		copied := filepath.Join(t.TempDir(), "ledger.db")
		must(t, os.WriteFile(copied, books, 0o600))
		must(t, os.WriteFile(copied+"-wal", append(log[:cut:cut], "torn"...), 0o600))
		l := at(t, copied, nil)
		if err := l.Check(ctx); err != nil {
			t.Errorf("cut at %d of %d: %v", cut, len(log), err)
			continue
		}
		agrees(t, l)
		must(t, l.Close())
	}
}

// steps carries out one verb after the other, and after each says what is acknowledged now and how long the log is.
func steps(path string) {
	l := sqliteledger.New(path, &sqliteledger.Options{Timeout: time.Minute})
	for {
		r := pay(1)
		r.Deadline = 0
		r.Budgets[0].AlertAt = []int{1}
		r.Budgets[0].Limit = 1000
		h, err := l.Reserve(ctx, r)
		acknowledged(path, "in_flight", r.ID, err)
		_, err = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(1)})
		acknowledged(path, "settled", r.ID, err)
		_, err = l.Adjust(ctx, acme, r.ID, ledger.Adjustment{ID: "a"})
		acknowledged(path, "adjusted", r.ID, err)
	}
}

func acknowledged(path, what, id string, err error) {
	info, stat := os.Stat(path + "-wal")
	if err := errors.Join(err, stat); err != nil {
		fmt.Printf("failed %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("%s %s %d\n", what, id, info.Size())
}

// A power cut keeps what was synced and may spoil all that was written after it. Whatever that was, a verb is found
// that was acknowledged before: with the log cut off anywhere behind it, and with anything at all in place of the rest.
func TestWhatWasAcknowledgedBeforeAPowerCutIsThere(t *testing.T) {
	path := fresh(t)
	must(t, opened(t, path, cost.Max).Close())
	type ack struct {
		phase, id string
		size      int // of the log when it was acknowledged
	}
	var acks []ack
	c := spawn(t, "steps", path)
	for c.out.Scan() {
		var a ack
		if n, err := fmt.Sscan(c.out.Text(), &a.phase, &a.id, &a.size); n != 3 {
			t.Fatalf("the child said %q: %v", c.out.Text(), err)
		}
		if acks = append(acks, a); len(acks) == 64 { // so that the log goes on behind the last that is looked at
			must(t, c.Process.Kill())
		}
	}
	_ = c.Wait() // it was killed
	books, err := os.ReadFile(path)
	must(t, err)
	log, err := os.ReadFile(path + "-wal")
	must(t, err)
	if len(log) <= acks[59].size || acks[0].size >= acks[59].size {
		t.Fatalf("the log has %d bytes, and had %d and %d: it was moved into the file meanwhile", len(log), acks[0].size, acks[59].size)
	}
	tails := map[string]func(rest []byte) []byte{
		"cut off": func([]byte) []byte { return nil },
		"zeros":   func(rest []byte) []byte { return make([]byte, len(rest)) },
		"flipped": func(rest []byte) []byte { rest[len(rest)/2] ^= 1; return rest },
		"shuffled": func(rest []byte) []byte {
			half := len(rest) / 2
			return append(rest[half:len(rest):len(rest)], rest[:half]...)
		},
	}
	for _, i := range []int{0, 13, 29, 45, 59} {
		for name, spoil := range tails {
			for _, behind := range []int{0, 5000} {
				cut := min(acks[i].size+behind, len(log)-1)
				copied := filepath.Join(t.TempDir(), "ledger.db")
				must(t, os.WriteFile(copied, books, 0o600))
				must(t, os.WriteFile(copied+"-wal", append(slices.Clone(log[:cut]), spoil(slices.Clone(log[cut:]))...), 0o600))
				l := at(t, copied, nil)
				last := map[string]string{}
				for _, a := range acks[:i+1] {
					last[a.id] = a.phase
				}
				for id, phase := range last {
					h, err := l.Find(ctx, acme, id)
					ok := err == nil
					switch phase {
					case "settled":
						ok = ok && h.Phase == ledger.Settled
					case "adjusted":
						ok = ok && len(h.Adjustments) == 1
					}
					if !ok {
						t.Errorf("%s %d bytes behind %s of %s: it is %q with %d adjustments: %v", name, behind, phase, id, h.Phase, len(h.Adjustments), err)
					}
				}
				agrees(t, l)
				must(t, l.Close())
			}
		}
	}
}
