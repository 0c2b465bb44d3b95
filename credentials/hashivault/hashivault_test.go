package hashivault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/hashivault"
)

// The secret, in the fake's error texts as well. It must stand in no error.
const secret = "sk_live_T0PsecretT0P"

type vaultOptions = hashivault.Options

// A vault is a real Vault or a fake one, set up as its operator would.
type vault interface {
	address() string
	options() *vaultOptions
	put2(path string, fields map[string]any) // a new version in the KV2 engine at secret
	delete2(path string)
	put1(path string, fields map[string]any)       // in the KV1 engine at kv
	token(ttl time.Duration) string                // with the documented policy; renewable without end
	appRole(ttl, most time.Duration) (_, _ string) // at approle
	jwt(mount, role string) string                 // what a pod's file holds
	consul(ttl, most time.Duration)                // leases at consul/creds/payments
	endTokens()                                    // of those who logged in
	lent() []string                                // what the engine has made and not taken back
}

// Every law holds against Vault's own server and against the fake.
func TestVault(t *testing.T) {
	laws := []struct {
		name  string
		holds func(*testing.T, vault)
	}{
		{"a secret is read from every engine", readsSecrets},
		{"what is not there is unknown", knowsWhatIsNotThere},
		{"what the policy does not allow fails", failsWhereItMayNot},
		{"AppRole logs in, and again when its token has ended", logsInByAppRole},
		{"Kubernetes logs in with the token that is in the file now", logsInByKubernetes},
		{"a login that is refused fails", failsWithoutLogin},
		{"a lease is renewed, replaced when refused, and revoked at the end", leases},
		{"leases under a given token are revoked one by one", leasesUnderAToken},
		{"a source is safe for concurrent use", isSafeForConcurrentUse},
	}
	for _, law := range laws {
		t.Run("fake/"+law.name, func(t *testing.T) { law.holds(t, newFake(t)) })
	}
	t.Run("real", func(t *testing.T) {
		for _, law := range laws {
			t.Run(law.name, func(t *testing.T) { law.holds(t, startReal(t)) })
		}
	})
}

func kv2(path string, fields ...string) hashivault.Secret {
	return hashivault.Secret{Mount: "secret", Path: path, Fields: fields}
}

func get(t *testing.T, s credentials.Source, ref string) string {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return strings.Join(c.Reveal(), " ")
}

// refused is the error of Get, in which no secret stands.
func refused(t *testing.T, s credentials.Source, ref string) error {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err == nil {
		t.Fatalf("%s was found", ref)
	}
	if c.Reveal() != nil {
		t.Errorf("%s: an error comes with a credential", ref)
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "T0P") || strings.Contains(text, "hvs.") {
		t.Errorf("%s: the error shows what Vault said: %s", ref, text)
	}
	var fault *credentials.Fault
	if !errors.As(err, &fault) {
		t.Errorf("%s: a %T, of which the brake shows nothing", ref, err)
	}
	return err
}

func readsSecrets(t *testing.T, v vault) {
	v.put2("payments/stripe", map[string]any{"secret_key": "sk_1", "other": "x"})
	v.put2("payments/stripe", map[string]any{"secret_key": "sk_2"})
	v.put2("sms/a b", map[string]any{"sid": "AC1", "key": "SK1", "secret": secret, "n": 3})
	v.put1("old/resend", map[string]any{"key": "re_1"})
	s := hashivault.New(v.address(), hashivault.Token(v.token(time.Hour)), map[string]hashivault.Secret{
		"stripe": kv2("payments/stripe", "secret_key"),
		"first":  {Mount: "secret", Path: "payments/stripe", Version: 1, Fields: []string{"secret_key"}},
		"twilio": kv2("sms/a b", "sid", "key", "secret"),
		"turned": kv2("sms/a b", "key", "sid"),
		"resend": {Engine: hashivault.KV1, Mount: "kv", Path: "old/resend", Fields: []string{"key"}},
	}, v.options())
	for ref, want := range map[string]string{"stripe": "sk_2", "first": "sk_1", "twilio": "AC1 SK1 " + secret, "turned": "SK1 AC1", "resend": "re_1"} {
		if got := get(t, s, ref); got != want {
			t.Errorf("%s: got %q, want %q", ref, got, want)
		}
	}
	if err := credentials.Check(t.Context(), s); err != nil {
		t.Errorf("Check: %v", err)
	}
	v.put2("payments/stripe", map[string]any{"secret_key": "sk_3"})
	if got := get(t, s, "stripe"); got != "sk_3" {
		t.Errorf("after a rotation: got %q", got)
	}
	if got := get(t, s, "first"); got != "sk_1" {
		t.Errorf("a pinned version: got %q", got)
	}
	c, err := s.Get(t.Context(), "stripe")
	if err != nil || !c.Expires().IsZero() {
		t.Errorf("a secret that nobody has leased ends at %v, %v", c.Expires(), err)
	}
}

func knowsWhatIsNotThere(t *testing.T, v vault) {
	v.put2("a", map[string]any{"key": secret, "empty": "", "number": 7, "map": map[string]any{"key": secret}})
	v.put2("gone", map[string]any{"key": secret})
	v.delete2("gone")
	v.put1("a", map[string]any{"key": secret})
	s := hashivault.New(v.address(), hashivault.Token(v.token(time.Hour)), map[string]hashivault.Secret{
		"no path": kv2("b", "key"), "no version": {Mount: "secret", Path: "a", Version: 9, Fields: []string{"key"}},
		"deleted": kv2("gone", "key"), "no field": kv2("a", "key", "value"), "empty": kv2("a", "empty"), "a number": kv2("a", "number"), "a map": kv2("a", "map"),
		"KV1 read as KV2": kv2("../kv/a", "key"),
		"KV2 read as KV1": {Engine: hashivault.KV1, Mount: "secret", Path: "a", Fields: []string{"key"}},
		"no path of KV1":  {Engine: hashivault.KV1, Mount: "kv", Path: "b", Fields: []string{"key"}},
	}, v.options())
	for _, ref := range append(s.Refs(), "no reference") {
		if err := refused(t, s, ref); !errors.Is(err, credentials.ErrUnknown) && ref != "KV1 read as KV2" {
			t.Errorf("%s: %v", ref, err)
		}
	}
	err := credentials.Check(t.Context(), s)
	if err == nil || strings.Contains(err.Error(), "T0P") || strings.Count(err.Error(), "\n") != len(s.Refs())-1 {
		t.Errorf("Check: %v", err)
	}
}

func failsWhereItMayNot(t *testing.T, v vault) {
	v.put2("denied/a", map[string]any{"key": secret})
	for name, token := range map[string]string{"a policy that does not allow it": v.token(time.Hour), "no token": "hvs.of-nobody"} {
		s := hashivault.New(v.address(), hashivault.Token(token), map[string]hashivault.Secret{"a": kv2("denied/a", "key")}, v.options())
		if err := refused(t, s, "a"); errors.Is(err, credentials.ErrUnknown) || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "mount secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func logsInByAppRole(t *testing.T, v vault) {
	v.put2("a", map[string]any{"key": "k1"})
	role, id := v.appRole(time.Hour, 2*time.Hour)
	s := hashivault.New(v.address(), hashivault.AppRole(role, id), map[string]hashivault.Secret{"a": kv2("a", "key"), "denied": kv2("denied/a", "key")}, v.options())
	for range 3 {
		if got := get(t, s, "a"); got != "k1" {
			t.Errorf("got %q", got)
		}
	}
	v.endTokens()
	if got := get(t, s, "a"); got != "k1" {
		t.Errorf("after the token's end: got %q", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	refused(t, s, "a")
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func logsInByKubernetes(t *testing.T, v vault) {
	v.put2("a", map[string]any{"key": "k1"})
	file := filepath.Join(t.TempDir(), "token")
	s := hashivault.New(v.address(), hashivault.Kubernetes("keybrake", file).At("kubernetes-eu"), map[string]hashivault.Secret{"a": kv2("a", "key")}, v.options())
	if err := refused(t, s, "a"); !errors.Is(err, os.ErrNotExist) || errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("no file: %v", err)
	}
	write(t, file, "")
	refused(t, s, "a")
	write(t, file, v.jwt("kubernetes-eu", "keybrake")+"\n")
	if got := get(t, s, "a"); got != "k1" {
		t.Errorf("got %q", got)
	}
	write(t, file, "not a token any more")
	v.endTokens()
	refused(t, s, "a")
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func failsWithoutLogin(t *testing.T, v vault) {
	v.put2("a", map[string]any{"key": secret})
	role, id := v.appRole(time.Hour, time.Hour)
	for name, auth := range map[string]hashivault.Auth{
		"another secret id": hashivault.AppRole(role, "T0P"), "another role": hashivault.AppRole("T0P", id), "no secret id": hashivault.AppRole(role, ""),
		"another mount": hashivault.AppRole(role, id).At("elsewhere"), "no mount": hashivault.AppRole(role, id).At(""), "a wild mount": hashivault.AppRole(role, id).At("../secret"),
		"nothing": {}, "an empty token": hashivault.Token(""),
	} {
		s := hashivault.New(v.address(), auth, map[string]hashivault.Secret{"a": kv2("a", "key")}, v.options())
		if err := refused(t, s, "a"); errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: the secret is called unknown: %v", name, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
}

var leased = map[string]hashivault.Secret{"consul": {Engine: hashivault.Leased, Mount: "consul", Path: "creds/payments", Fields: []string{"token"}}}

func leases(t *testing.T, v vault) {
	v.consul(time.Hour, 24*time.Hour)
	role, id := v.appRole(2*time.Hour, 24*time.Hour)
	s := hashivault.New(v.address(), hashivault.AppRole(role, id), leased, v.options())
	c, err := s.Get(t.Context(), "consul")
	if err != nil {
		t.Fatal(err)
	}
	first := c.Reveal()[0]
	if left := time.Until(c.Expires()); left > time.Hour || left < 50*time.Minute {
		t.Errorf("it ends in %v", left)
	}
	if got := get(t, s, "consul"); got != first {
		t.Errorf("asked again, it is another: %q and %q", first, got)
	}
	s.Drop("consul")
	second := get(t, s, "consul")
	if second == first {
		t.Error("the vendor has refused it, and it is given again")
	}
	within(t, func() bool { return slices.Equal(v.lent(), []string{second}) }, "the refused one is not revoked")
	v.endTokens() // and with it what was leased under it
	third := get(t, s, "consul")
	if third == second {
		t.Error("it has ended with its token, and is given again")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	within(t, func() bool { return len(v.lent()) == 0 }, "Close has left a lease")
	refused(t, s, "consul")
}

func leasesUnderAToken(t *testing.T, v vault) {
	v.consul(time.Hour, 24*time.Hour)
	token := v.token(2 * time.Hour)
	s := hashivault.New(v.address(), hashivault.Token(token), leased, v.options())
	get(t, s, "consul")
	s.Drop("consul")
	get(t, s, "consul")
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	within(t, func() bool { return len(v.lent()) == 0 }, "Close has left a lease")
	v.put2("a", map[string]any{"key": "k1"})
	again := hashivault.New(v.address(), hashivault.Token(token), map[string]hashivault.Secret{"a": kv2("a", "key")}, v.options())
	if got := get(t, again, "a"); got != "k1" {
		t.Errorf("somebody's token has ended with the source: got %q", got)
	}
}

// within waits for what Vault does behind its answer.
func within(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func isSafeForConcurrentUse(t *testing.T, v vault) {
	v.consul(time.Hour, 24*time.Hour)
	v.put2("a", map[string]any{"key": "k1"})
	role, id := v.appRole(time.Hour, 2*time.Hour)
	secrets := map[string]hashivault.Secret{"a": kv2("a", "key"), "none": kv2("none", "key"), "consul": leased["consul"]}
	s := hashivault.New(v.address(), hashivault.AppRole(role, id), secrets, v.options())
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for range 3 {
				switch i % 4 {
				case 0:
					if c, err := s.Get(t.Context(), "a"); err != nil || c.Reveal()[0] != "k1" {
						t.Errorf("got %v", err)
					}
				case 1:
					if _, err := s.Get(t.Context(), "none"); !errors.Is(err, credentials.ErrUnknown) {
						t.Errorf("got %v", err)
					}
				case 2:
					if c, err := s.Get(t.Context(), "consul"); err != nil || c.Expires().IsZero() {
						t.Errorf("got %v", err)
					}
				case 3:
					s.Drop("consul")
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	within(t, func() bool { return len(v.lent()) == 0 }, "a lease was lost")
}
