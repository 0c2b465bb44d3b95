// Quickstart shows what the brake does to an agent's calls: the real stripe-go, twilio-go and resend-go, against a
// fake vendor on loopback that keeps its own log of what it executed. It needs Go and nothing else.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -json
//
// Each call is one line: run, operation, verdict, reason (of an allowed call, its outcome), and in USD what was
// reserved, what it did cost, and what is left of the run's budget. The fifth line of a kind and all after it are
// counted. A table at the end has the sums of each run.
//
// With -json every call is one line of JSON, {"type":"call",…}, none left out; further types are scene, control
// and note. The last line is {"type":"summary","calls":…,"forwarded":…,"denied":…,"in_doubt":…,"spent":…,"held":…,
// "executed":…,"agree":…,"runs":[…]}. Amounts are strings of a decimal number and a currency: "20.00 USD".
//
// It exits with 1 when what the vendor executed is not what the books say; the comparison is in closing.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	err := run(context.Background(), os.Stdout, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

const help = `Usage: quickstart [-json]

Plays an agent's calls with the real Stripe, Twilio and Resend SDKs through the brake to a fake vendor on
loopback, one line a call, and then compares what the vendor executed with the books.

  -json   one JSON object a line: "type" is call, scene, control, note, or, of the last line, summary.
          call:    scene, run, operation, verdict (allow, deny), outcome, reason, detail, retry,
                   reserved, actual (absent in doubt), left
          summary: calls, forwarded, denied, in_doubt (reservations that still are), spent, held, executed,
                   agree, and the same for each of runs
          Amounts are strings of a decimal number and a currency: "20.00 USD".

Exits with 1 when the vendor's log and the books disagree.
`

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors come back, and help is ours
	asJSON := flags.Bool("json", false, "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, help)
		return err
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return fmt.Errorf("%w; see -h", err)
	}
	return play(ctx, out, *asJSON, story)
}

// play plays the scenes, one after the other, and closes the books, also when a scene went wrong.
func play(ctx context.Context, out io.Writer, asJSON bool, scenes []scene) error {
	tell := newNarrator(out, asJSON)
	s, err := newStage(ctx, tell)
	if err != nil {
		return err
	}
	defer s.fake.Close()
	for _, sc := range scenes {
		tell.begin(sc.title)
		err = sc.play(s, ctx)
		tell.end()
		if err != nil {
			err = fmt.Errorf("scene %q: %w", sc.title, err)
			break
		}
	}
	return errors.Join(err, s.closing(ctx))
}
