package sqliteledger_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	case "race":
		race(os.Getenv(pathEnv))
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
	turns      = 8  // reserves of each
	raceAmount = 3
	raceLimit  = 400 // covers 133 of the 512
)

// race makes the books together with the others, waits for the start and reserves as fast as it can.
func race(path string) {
	l := sqliteledger.New(path, &sqliteledger.Options{Timeout: time.Minute})
	err := errors.Join(l.Check(ctx), l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}), l.SetBudget(ctx, acme, team(raceLimit)))
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin) // ends when the parent closes it
	var wg sync.WaitGroup
	var admitted, wrong atomic.Int64
	for range threads {
		wg.Go(func() {
			for range turns {
				r := pay(raceAmount)
				r.ID = fmt.Sprint(os.Getpid(), r.ID)
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
	path := fresh(t)
	var children []*child
	for range racers {
		children = append(children, spawn(t, "race", path))
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
