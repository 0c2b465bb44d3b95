// Torture drives the ledgers while everything around them fails, and judges them by what was really executed and by
// the order of their answers.
//
//	go run . -time 20m            from a random seed, which is printed first
//	go run . -time 20m -seed 7    again: what is asked and what fails is a function of the seed
//	go run . -only brake          those parts alone whose name has the word in it
//
// One part after another is played: a connection that loses requests and replies (internal/respproxy), a redis-server
// that is killed, stopped, full, replaced by a replica or emptied, processes that are killed, on Redis and on SQLite,
// and the whole brake with a vendor that fails too. Of each it is judged:
//
//   - every history of answers can be put in an order that a person with a pencil would have produced (Books): so no
//     limit was passed, no hold went without an end, and nothing was admitted after a stop was acknowledged;
//   - what the vendor executed is within the limits, and the books show it;
//   - after a store has lost what it acknowledged nothing is admitted, unless nothing of it is missing after all.
//
// Each violation is printed with its part, its time, its seed and the reservations. The last line reads
// "operations N, faults N, violations N", and the exit status is 1 when there are violations.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

func main() {
	if setup := os.Getenv(childEnv); setup != "" {
		exit(runChild(setup))
	}
	span := flag.Duration("time", time.Minute, "for how long")
	seed := flag.Uint64("seed", 0, "0 draws one")
	only := flag.String("only", "", "a word in the names of the parts to be played")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	violations, err := torture(os.Stdout, *seed, *span, *only)
	exit(err)
	if violations > 0 {
		os.Exit(1)
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// torture plays the kinds in turn until span has passed, each at least once.
func torture(out io.Writer, seed uint64, span time.Duration, only string) (violations int, err error) {
	fmt.Fprintf(out, "seed %d\n", seed)
	var parts []kind
	for _, k := range kinds {
		if strings.Contains(k.name, only) {
			parts = append(parts, k)
		}
	}
	if len(parts) == 0 {
		return 0, fmt.Errorf("no part is called %q", only)
	}
	t := &tally{seed: seed, out: out, began: time.Now()}
	turn := min(5*time.Second, span/time.Duration(len(parts)))
	for n := 0; n < len(parts) || time.Since(t.began) < span; n++ {
		k := parts[n%len(parts)]
		ops, faults := t.ops.Load(), t.faults.Load()
		if err := t.play(k, rand.New(rand.NewPCG(seed, uint64(n))).Uint64(), turn); err != nil {
			return t.violations, fmt.Errorf("%s: %w", k.name, err)
		}
		fmt.Fprintf(out, "%8v  %s: %d operations, %d faults\n", time.Since(t.began).Round(time.Millisecond), k.name, t.ops.Load()-ops, t.faults.Load()-faults)
	}
	if n := t.undone.Load(); n > 0 {
		fmt.Fprintf(out, "%d histories could not be judged in time\n", n)
	}
	fmt.Fprintf(out, "losses: %d after which all was refused, %d in which nothing acknowledged was missing of what was admitted\n",
		t.denied.Load(), t.kept.Load())
	fmt.Fprintf(out, "operations %d, faults %d, violations %d\n", t.ops.Load(), t.faults.Load(), t.violations)
	return t.violations, nil
}
