package kbstripe

import (
	"errors"
	"regexp"

	"github.com/keybrake/keybrake-go/vendors"
)

var (
	versions = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?$`)
	apiKeys  = regexp.MustCompile(`^(sk|rk)_(test|live)_[A-Za-z0-9_]{1,255}$`)
)

var errCredential = errors.New("kbstripe: the credential is not a Stripe secret or restricted key: one part, sk_test_…, sk_live_…, rk_test_… or rk_live_…; publishable keys (pk_…) cannot spend")

// place reads a secret or restricted key. Organisation keys (sk_org_…) are refused: they act on the account
// that each request names, so a key alone would not say whose money moves.
func place(parts []string) (vendors.Placement, error) {
	if len(parts) != 1 {
		return vendors.Placement{}, errCredential
	}
	m := apiKeys.FindStringSubmatch(parts[0])
	if m == nil {
		return vendors.Placement{}, errCredential
	}
	mode := vendors.ModeTest
	if m[2] == "live" {
		mode = vendors.ModeLive
	}
	return vendors.Placement{Header: "Authorization", Value: "Bearer " + parts[0], Mode: mode, Kind: m[1], Secrets: []string{parts[0]}}, nil
}
