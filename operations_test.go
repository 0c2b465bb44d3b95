package keybrake_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

const operationsFile = "docs/operations.md"

// The list of operations in the docs is that of the catalogues. With UPDATE_README set, it is written.
func TestDocsListTheOperations(t *testing.T) {
	want := operationsDoc()
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(operationsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(operationsFile); err != nil || string(got) != want {
		t.Errorf("%s is not what the catalogues say (%v); run UPDATE_README=1 go test -run %s .", operationsFile, err, t.Name())
	}
}

func operationsDoc() string {
	var b strings.Builder
	b.WriteString(`# Operations

What a policy's rules can name, by vendor. A call that is not here is refused, whatever a policy says.

| class | means | needs a budget |
|---|---|---|
| read | changes nothing | no |
| free | changes something that never costs | no |
| edit | changes an amount that a later operation will use | yes |
| commit | creates something that can charge later | yes |
| charge | takes money from customers | yes |
| outflow | moves money out | yes |
| fee | the vendor bills the call | yes |
| release | cancels something that holds money | no |
| control | changes destinations, limits, settings; allowed by its full name only, never by a wildcard | no |
| test | the vendor's test helpers; by full name only | no |

"Key" says that the vendor honours an idempotency key, so that a retry is the same spend. "Redirects" are parameters that redirect money or effect: each is refused until a rule names it in its params.
`)
	for _, v := range []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)} {
		writeVendor(&b, v)
	}
	return b.String()
}

func writeVendor(b *strings.Builder, v vendors.Vendor) {
	fmt.Fprintf(b, "\n## %s\n\n| operation | call | class | key | redirects |\n|---|---|---|---|---|\n", v.Name)
	for _, op := range v.Operations {
		if op.HardDeny != "" {
			continue
		}
		key := ""
		if op.KeyMemory > 0 {
			key = "yes"
		}
		fmt.Fprintf(b, "| `%s` | `%s %s` | %s | %s | %s |\n", op.Name, op.Method, op.Path, op.Class, key, strings.Join(op.Params.Redirects, ", "))
	}
	b.WriteString("\nNever through a vault key:\n\n| operation | call | because |\n|---|---|---|\n")
	for _, op := range v.Operations {
		if op.HardDeny != "" {
			fmt.Fprintf(b, "| `%s` | `%s %s` | %s |\n", op.Name, op.Method, op.Path, op.HardDeny)
		}
	}
}
