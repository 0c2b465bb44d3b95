package backtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/backtest"
	"github.com/keybrake/keybrake-go/policy"
)

// observed are the records of six refunds that two runs of a team made on one day.
func observed() io.Reader {
	var text bytes.Buffer
	for i, amount := range []int64{5, 12, 9, 8, 11, 7} {
		for _, r := range refund(fmt.Sprint("k", i%2), at(9+i, 0), amount) {
			line, _ := json.Marshal(r)
			text.Write(append(line, '\n'))
		}
	}
	return &text
}

func ExampleReplay() {
	file := observed()

	tight := loose // the rules stay
	tight.InsecureObserve = false
	tight.Budgets = []policy.Budget{policy.Daily(policy.USD("30")).Shared("team:support")}
	report, err := backtest.Replay(audit.Read(file), backtest.Plan{
		Policy: tight,
		Before: []policy.Policy{loose}, // that the calls were made under
		Shared: map[string][]policy.Budget{"acme": {policy.Daily(policy.USD("30")).Shared("team:support")}},
		Try:    []backtest.Try{{Budget: "team:support", Limit: policy.USD("45")}, {Budget: "team:support", Limit: policy.USD("60")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("of %d calls %d would have been denied\n", report.Calls, report.Denied)
	for _, c := range report.Causes {
		fmt.Printf("%d by %s %s, first %s of %s\n", c.Calls, c.Code, c.Budget, c.First.At.Format("15:04"), c.First.Run)
	}
	for _, b := range report.Budgets {
		fmt.Printf("%s needs %d USD\n", b.Name, b.Need.Amount/1_000_000)
	}
	for _, t := range report.Try {
		fmt.Printf("with %s: %d\n", t.Limit, t.Denied)
	}
	// Output:
	// of 6 calls 3 would have been denied
	// 3 by budget_exceeded team:support, first 12:00 of run_k1
	// team:support needs 52 USD
	// with 45.00 USD: 1
	// with 60.00 USD: 0
}

// What docs/backtest.md shows is what the examples compile and run, line by line.
func TestPageShowsWhatRuns(t *testing.T) {
	page, err := os.ReadFile("../docs/backtest.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples string
	for _, name := range []string{"example_test.go", "../crosscheck/example_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		examples += bare(string(text))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Errorf("the page has %d blocks of Go", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(examples, bare(b[1])) {
			t.Errorf("the page shows what does not run:\n%s", b[1])
		}
	}
}

// bare is text without the spaces around its lines.
func bare(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
