package keybrake

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// FuzzTrace keeps a trace and changes what the ledger has: a bit, a cut, an insertion, another tenant or reservation, another
// credential, or any text at all. Nothing opens but what was sealed, for where it was sealed, and it opens as what it was.
func FuzzTrace(f *testing.F) {
	f.Add("acme", "r1", "ch_1", "stripe", uint(20), byte(1), "", "", true)
	f.Add("acme", "r1", "ch_1", "stripe", uint(0), byte(0), "", "r2", false)
	f.Add("a", "b", "\x00", "a ref with spaces", uint(9999), byte(0), "ab", "", true)
	f.Add("", "", "", "", uint(7), byte(0), "live AAAA stripe", "", false)
	f.Add("acme", "r1", "x", "stripe", uint(40), byte(0), "live  ", "", true)
	secret := vendors.Placement{Value: "Bearer sk_live_1", Secrets: []string{"sk_live_1"}}
	other := vendors.Placement{Value: "Bearer sk_live_2", Secrets: []string{"sk_live_2"}}
	f.Fuzz(func(t *testing.T, tenant, reservation, value, ref string, at uint, flip byte, insert, elsewhere string, live bool) {
		kept := trace{
			Kind: vendors.Exact, Lines: []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 5}}, Run: "run", Host: "api.stripe.com",
			Params: []vendors.Param{{Name: "charge", Value: strings.ToValidUTF8(value, "?")}}, Sent: time.Unix(1, 0).UTC(), Objects: []string{"re_1"},
		}
		memo := kept.seal(secret, tenant, reservation, ref, live)
		if got, isLive, err := labelOf(memo); got != ref || isLive != live || err != nil {
			t.Fatalf("the label of %q is %q, %t, %v", memo, got, isLive, err)
		}
		got, err := openTrace(secret, tenant, reservation, memo)
		if err != nil || !reflect.DeepEqual(got, kept) {
			t.Fatalf("%+v was kept, and is opened as %+v, %v", kept, got, err)
		}
		if _, err := openTrace(other, tenant, reservation, memo); err == nil {
			t.Fatal("another credential opens it")
		}
		for _, place := range [][2]string{{tenant, reservation + elsewhere}, {tenant + elsewhere, reservation}, {elsewhere, reservation}, {tenant, elsewhere}, {reservation, tenant}} {
			if _, err := openTrace(secret, place[0], place[1], memo); err == nil && place != [2]string{tenant, reservation} {
				t.Fatalf("what was kept for %q opens for %q", []string{tenant, reservation}, place)
			}
		}
		i := int(at % uint(len(memo)))
		cut := bytes.Clone([]byte(memo[:i]))
		flipped := bytes.Clone([]byte(memo))
		flipped[i] ^= flip
		for _, changed := range []string{insert, memo[:i] + insert + memo[i:], string(cut), string(flipped), string(cut) + insert} {
			if boxIn(changed) == boxIn(memo) {
				continue // the label alone, which says nothing of the call
			}
			if got, err := openTrace(secret, tenant, reservation, changed); err == nil {
				t.Fatalf("%q was kept, and %q opens as %+v", memo, changed, got)
			}
		}
	})
}

// boxIn is the sealed bytes of a memo, by whatever text they are written.
func boxIn(memo string) string {
	_, rest, _ := strings.Cut(memo, " ")
	box, _, _ := strings.Cut(rest, " ")
	sealed, err := base64.RawStdEncoding.DecodeString(box)
	if err != nil {
		return "no box"
	}
	return string(sealed)
}
