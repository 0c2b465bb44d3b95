// Sharedbudget shows two processes that draw on one budget in Redis: each tries to refund 200.00, the budget has
// 150.00, and together they execute exactly that. The vendor is a fake in the first process, so that all it takes is
// a Redis, in which the rows of a tenant of this run's own name stay behind.
//
//	redis-server --save '' &
//	go run ./examples/sharedbudget -redis 127.0.0.1:6379
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

func main() {
	addr := flag.String("redis", "127.0.0.1:6379", "the address of a Redis 7 or later")
	asWorker := flag.Bool("worker", false, "be one of the two processes (they are started so)")
	flag.Parse()
	log.SetFlags(0)
	ctx := context.Background()
	var err error
	if *asWorker {
		err = work(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Stdout, *addr)
	}
	if err != nil {
		log.Fatal("sharedbudget: ", err)
	}
}

// A task is what a worker is given on its standard input: a vault key, and what it takes to enforce one. The vendor
// is where the fake listens; a worker in production has none of it and reaches the real one.
type task struct {
	Redis    string
	Token    string
	Verify   ed25519.PublicKey
	Vendor   string
	VendorCA []byte
}

// run makes the budget, issues a key for each of two workers, and compares what they say with what the vendor did.
func run(ctx context.Context, out io.Writer, addr string) error {
	fake, err := fakevendor.Start()
	if err != nil {
		return err
	}
	defer fake.Close()
	fake.SeedCharge("ch_1", 1_000_000, "usd")

	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	config := enforcing(rdb, issuer.Public())
	config.Issuer = issuer
	brake, err := keybrake.New(ctx, config)
	if err != nil {
		return err
	}

	// The limit lives in the ledger; the keys' policies name the budget and no more.
	tenant := "demo-" + rand.Text()
	team := policy.Daily(policy.USD("150")).Shared("team:support")
	if err := brake.SetBudget(ctx, tenant, team); err != nil {
		return err
	}
	var workers [2]*exec.Cmd
	for i := range workers {
		key, err := brake.Issue(ctx, keybrake.Grant{
			Tenant: tenant, Agent: "refund-bot", Run: fmt.Sprintf("run_%d", i+1),
			Credentials: map[string]string{"stripe": "stripe"},
			Policy: policy.Policy{
				Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
				Budgets: []policy.Budget{policy.Scoped(team.Scope)},
			},
			TTL: time.Hour,
		})
		if err != nil {
			return err
		}
		workers[i], err = start(task{addr, key.Token(), issuer.Public(), fake.Addr(), fake.CA()}, out)
		if err != nil {
			return err
		}
	}
	if err := errors.Join(workers[0].Wait(), workers[1].Wait()); err != nil {
		return fmt.Errorf("a worker: %w", err)
	}
	executed := fake.Spent()[fakevendor.MeterOutflow]["USD"]
	fmt.Fprintf(out, "together, in the vendor's own log: %s of %s\n", cost.Format(executed, "USD", ""), team.Limit)
	if executed != team.Limit.Value {
		return errors.New("that is not what the budget covers")
	}
	return nil
}

// enforcing is the configuration of a process that accepts vault keys and cannot make them.
func enforcing(rdb *redis.Client, issuer ed25519.PublicKey) keybrake.Config {
	return keybrake.Config{
		Verify:      []ed25519.PublicKey{issuer},
		Ledger:      redisledger.New(rdb, nil),
		Vendors:     []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": "sk_test_SharedBudgetSecret"}),
		Audit:       audit.InsecureDiscard(), // for the example's sake alone
	}
}

// start runs this program again, as a worker.
func start(t task, out io.Writer) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	stdin, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	worker := exec.Command(self, "-worker")
	worker.Stdin, worker.Stdout, worker.Stderr = bytes.NewReader(stdin), out, os.Stderr
	return worker, worker.Start()
}

// work is the other process: it refunds 10.00 twenty times and counts what the brake lets through.
func work(ctx context.Context, in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: t.Redis})
	defer rdb.Close()
	config := enforcing(rdb, t.Verify)
	config.Base = fakevendor.Dial(t.Vendor, t.VendorCA)
	brake, err := keybrake.New(ctx, config)
	if err != nil {
		return err
	}
	stripe.DefaultLeveledLogger = &stripe.LeveledLogger{Level: stripe.LevelNull} // or it writes each refusal to stderr
	sc := client.New(t.Token, stripe.NewBackends(brake.Client()))
	executed, refused := 0, 0
	for range 20 {
		_, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(1000)})
		d, ok := keybrake.DenialFrom(err)
		switch {
		case err == nil:
			executed++
		case ok && d.Reason == reason.BudgetExceeded:
			refused++
		default:
			return err
		}
	}
	_, err = fmt.Fprintf(out, "process %d: %d refunds of 10.00 executed, %d refused\n", os.Getpid(), executed, refused)
	return err
}
