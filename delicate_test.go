package keybrake_test

import (
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// Who writes "stripe.*" thinks of what the API is for, not of the settings that it can change.
func TestAWildcardDoesNotReachWhatChangesSettings(t *testing.T) {
	w := newWorld(t, nil)
	for _, pattern := range []cost.Pattern{"stripe.*", "stripe.customers.*"} {
		p := everything()
		p.Allow = []policy.Rule{{Operation: pattern}}
		key := w.issue(t, "run_1", p)
		d := denial(t, w.Transport(nil), request(t, "DELETE", "https://api.stripe.com/v1/customers/cus_1", key.Token(), "", ""))
		if d == nil || d.Reason != reason.OperationDenied {
			t.Errorf("%s: %v", pattern, d)
		}
	}
	p := everything()
	p.Allow = []policy.Rule{{Operation: "stripe.customers.delete"}}
	key := w.issue(t, "run_2", p)
	if d := denial(t, w.Transport(nil), request(t, "DELETE", "https://api.stripe.com/v1/customers/cus_1", key.Token(), "", "")); d != nil {
		t.Errorf("named in full: %v", d)
	}
	p.Allow = []policy.Rule{{Operation: "stripe.ephemeral_keys.*"}}
	if _, err := w.Issue(t.Context(), grant("run_3", p)); err == nil || !strings.Contains(err.Error(), "never allowed") {
		t.Errorf("a rule for what is never allowed: %v", err)
	}
}
