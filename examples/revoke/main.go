// Revoke shows one process that stops an agent in another. The agent's process has the issuer's public key alone: it
// enforces vault keys and cannot make them. What the two share is the ledger, a Redis; the vendor is a fake in the
// first process.
//
//	redis-server --save '' &
//	go run ./examples/revoke -redis 127.0.0.1:6379
package main

import (
	"bufio"
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
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

func main() {
	addr := flag.String("redis", "127.0.0.1:6379", "the address of a Redis 7 or later")
	asAgent := flag.Bool("agent", false, "be the agent's process (it is started so)")
	flag.Parse()
	log.SetFlags(0)
	ctx := context.Background()
	var err error
	if *asAgent {
		err = act(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Stdout, *addr)
	}
	if err != nil {
		log.Fatal("revoke: ", err)
	}
}

// run issues a key, lets the agent's process work with it, and revokes the run.
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
	config := configOf(rdb)
	config.Issuer = issuer
	brake, err := keybrake.New(ctx, config)
	if err != nil {
		return err
	}
	tenant := "demo-" + rand.Text() // its rows stay behind in Redis
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: tenant, Agent: "refund-bot", Run: "run_42",
		Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("1000"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}
	agent, err := start(task{addr, key.Token(), issuer.Public(), fake.Addr(), fake.CA()})
	if err != nil {
		return err
	}
	for range 3 {
		if err := agent.refund(out); err != nil {
			return err
		}
	}

	// The selector names the run, so that its other keys stop too, those issued later among them; and no other run.
	report, err := brake.Revoke(ctx, keybrake.ByRun(tenant, "run_42").Because("refunds without a ticket"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "revoked run_42 in %d tenant\n", len(report.Tenants))
	before := len(fake.Executions())
	for range 3 {
		if err := agent.refund(out); err != nil {
			return err
		}
	}
	if err := agent.stop(); err != nil {
		return fmt.Errorf("the agent's process: %w", err)
	}
	after := len(fake.Executions())
	fmt.Fprintf(out, "the vendor executed %d refunds before, and %d after\n", before, after-before)
	if before != 3 || after != before {
		return errors.New("that is not what revoke promises")
	}
	return nil
}

// configOf is what both processes have in common.
func configOf(rdb *redis.Client) keybrake.Config {
	return keybrake.Config{
		Ledger:      redisledger.New(rdb, nil),
		Vendors:     []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": "sk_test_RevokeSecret"}),
		Audit:       audit.InsecureDiscard(), // for the example's sake alone
	}
}

// A task is what the agent's process is given first: a vault key, and what it takes to enforce one. The vendor is
// where the fake listens.
type task struct {
	Redis    string
	Token    string
	Verify   ed25519.PublicKey
	Vendor   string
	VendorCA []byte
}

// act is the agent's process: after its task it reads a line for each refund that it shall make, and answers each
// with a line.
func act(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	var t task
	lines.Scan()
	if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: t.Redis})
	defer rdb.Close()
	config := configOf(rdb)
	config.Verify = []ed25519.PublicKey{t.Verify}
	config.Base = fakevendor.Dial(t.Vendor, t.VendorCA)
	brake, err := keybrake.New(ctx, config)
	if err != nil {
		return err
	}
	stripe.DefaultLeveledLogger = &stripe.LeveledLogger{Level: stripe.LevelNull} // or it writes each refusal to stderr
	sc := client.New(t.Token, stripe.NewBackends(brake.Client()))
	for lines.Scan() {
		refund, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(1000)})
		d, refused := keybrake.DenialFrom(err)
		switch {
		case refused:
			fmt.Fprintln(out, d)
		case err != nil:
			return err
		default:
			fmt.Fprintln(out, "executed", refund.ID)
		}
	}
	return lines.Err()
}

// A process is the agent's, seen from the other.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

// start runs this program again, as the agent.
func start(t task) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-agent")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewScanner(answers)}, json.NewEncoder(in).Encode(t)
}

// refund makes the agent try one, and prints what it says.
func (p *process) refund(out io.Writer) error {
	if _, err := io.WriteString(p.in, "refund\n"); err != nil {
		return err
	}
	if !p.answers.Scan() {
		return errors.Join(errors.New("the agent's process does not answer"), p.stop())
	}
	_, err := fmt.Fprintf(out, "process %d: %s\n", p.cmd.Process.Pid, p.answers.Text())
	return err
}

func (p *process) stop() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}
