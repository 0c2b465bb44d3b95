package redisledger

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/ledger.md shows the rules and the keys as they are here.
func TestThePageOnLedgersSaysWhatIsHere(t *testing.T) {
	page, err := os.ReadFile("../../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\nACL SETUSER keybrake on >PASSWORD "+ACL+"\n") {
		t.Errorf("it does not have the line for ACL %s", ACL)
	}
	source, err := os.ReadFile("keys.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^//\t(kb:.*)$").FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(string(page), "\n"+m[1]+"\n") {
			t.Errorf("it does not have the key %q", m[1])
		}
	}
}
