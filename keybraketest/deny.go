package keybraketest

import (
	"net/http"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/reason"
)

// Deny returns a transport that answers every request with d, byte for byte as the brake would: in the shape of the
// vendor whose host the request names (Stripe, Twilio, Resend), so that the vendor's SDK makes its own error of it
// and [keybrake.DenialFrom] finds d in that. It forwards nothing and looks at no key, so the SDK can be given any.
//
// Of d, Reason has to be set, to one of package reason. [reason.Canceled] comes back as an error and not as a
// response, as it does from the brake. For vendors of one's own there is Refuse of a [Bench]'s transport.
func Deny(t testing.TB, d keybrake.Denial) http.RoundTripper {
	t.Helper()
	if _, ok := reason.Lookup(d.Reason); !ok {
		t.Fatalf("keybraketest: %q is not a reason; see reason.All", d.Reason)
	}
	b, err := refuser()
	if err != nil {
		t.Fatalf("keybraketest: %v", err)
	}
	return denying{b.Transport(nil), d}
}

// refuser is a brake that is asked for nothing but refusals, so one is enough.
var refuser = sync.OnceValues(func() (*keybrake.Brake, error) {
	return brake(keybrake.Config{
		Ledger: memory.New(), Vendors: three(), Audit: audit.InsecureDiscard(), Credentials: credentials.Static(nil),
	})
})

type denying struct {
	transport *keybrake.Transport
	denial    keybrake.Denial
}

func (d denying) RoundTrip(req *http.Request) (*http.Response, error) {
	return d.transport.Refuse(req, d.denial)
}
