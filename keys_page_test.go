package keybrake_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/policy"
)

const keysPage = "docs/keys.md"

// What the page shows is what this file compiles and runs, word by word.
func TestKeysPageShowsWhatRuns(t *testing.T) {
	page, err := os.ReadFile(keysPage)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("keys_page_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 5 {
		t.Errorf("the page has %d blocks of Go", len(blocks))
	}
	for _, b := range blocks {
		rest := spaced(string(self))
		for line := range strings.Lines(b[2]) {
			_, after, ok := strings.Cut(rest, "\n"+spaced(line)+"\n")
			if !ok {
				t.Errorf("the page shows what does not run here: %s", line)
				break
			}
			rest = "\n" + after
		}
	}
}

// spaced is text with one space where there are several, and none at the ends of lines.
func spaced(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}

func TestKeysPageFindsTokens(t *testing.T) {
	page, err := os.ReadFile(keysPage)
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)^\\bkbrake1.*$`).FindString(string(page))
	scanner := regexp.MustCompile(pattern)
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", policy.Policy{})
	long := child(t, key, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.*", Params: policy.Params{"reason": policy.OneOf(strings.Repeat("x", 4000))}}}})
	for _, k := range []keybrake.Key{key, long} {
		if got := scanner.FindString("export KEY=" + k.Token() + "\n"); got != k.Token() {
			t.Errorf("%s finds %q", pattern, got)
		}
	}
}

func TestKeysPageRuns(t *testing.T) {
	w := newWorld(t, nil)
	issued := w.issue(t, "run_1", everything())
	t.Setenv("STRIPE_API_KEY", issued.Token())
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	key, err := keybrake.ParseKey(os.Getenv("STRIPE_API_KEY"))
	must(err)
	child, err := key.Narrow(keybrake.Narrowing{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("10")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("25"))},
		Labels:  []string{"refunds-helper"},
		TTL:     10 * time.Minute,
	})
	must(err)
	if got := refusedFor(t, w.Transport(nil), request(t, "GET", chargesURL, child.Token(), "", "")); got == "" {
		t.Error("the child may read charges")
	}

	issuing, enforcing, old, fresh := w.Brake, w.Brake, w.issuer, newIssuer(t)
	err = enforcing.Rotate(nil, old.Public(), fresh.Public()) // 1. every process accepts both
	must(err)
	err = issuing.Rotate(fresh, old.Public()) // 2. the new one signs
	must(err)
	err = enforcing.Rotate(nil, fresh.Public()) // 3. when the last key of the old has ended: it is left out
	must(err)
	err = issuing.Rotate(fresh)
	must(err)
	report, err := enforcing.Revoke(ctx, keybrake.ByIssuer(old.Public()))
	must(err)
	if len(report.Tenants) != 1 {
		t.Errorf("stopped in %v", report.Tenants)
	}
}

// What a program that forwards for others does with each request.
func TestKeysPageTellsThePeer(t *testing.T) {
	w := newWorld(t, nil)
	shown := &x509.Certificate{Raw: []byte("a certificate that the listener has verified")}
	g := grant("run_1", everything())
	g.Peer = keybrake.PeerCertificate(shown)
	key, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	req := request(t, "GET", chargesURL, key.Token(), "", "")
	req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown}}
	ctx := req.Context()
	ctx = keybrake.WithPeer(ctx, keybrake.PeerCertificate(req.TLS.PeerCertificates[0]))
	if got := refusedFor(t, w.Transport(nil), req.WithContext(ctx)); got != "" {
		t.Errorf("refused for %s", got)
	}
}
