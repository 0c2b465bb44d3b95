package hashivault_test

import (
	"os"
	"strings"
	"testing"
)

// documentedPolicy is the policy that docs/credentials.md gives: the real Vault is set up with it.
func documentedPolicy(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```hcl\n")
	policy, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("the page has no policy")
	}
	// The page's paths are of its example. The tests read more, in the same manner.
	return policy + `
path "secret/data/+" { capabilities = ["read"] }
path "secret/+" { capabilities = ["read"] }
path "secret/data/sms/*" { capabilities = ["read"] }
path "kv/*" { capabilities = ["read"] }
path "secret/data/denied/*" { capabilities = ["deny"] }
`
}
