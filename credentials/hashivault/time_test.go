package hashivault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/hashivault"
)

// inTime runs a test on a fake Vault where time is made up, and ends the source's renewals after it.
func inTime(t *testing.T, auth func(*fakeVault) hashivault.Auth, secrets map[string]hashivault.Secret, test func(*testing.T, *fakeVault, *hashivault.Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.put2("a", map[string]any{"key": "k1"})
		s := hashivault.New(f.address(), auth(f), secrets, f.options())
		test(t, f, s)
		f.locked(func() { f.fails = nil })
		_ = s.Close(t.Context())
	})
}

func given(ttl time.Duration) func(*fakeVault) hashivault.Auth {
	return func(f *fakeVault) hashivault.Auth { return hashivault.Token(f.token(ttl)) }
}

func role(ttl, most time.Duration) func(*fakeVault) hashivault.Auth {
	return func(f *fakeVault) hashivault.Auth { return hashivault.AppRole(f.appRole(ttl, most)) }
}

var one = map[string]hashivault.Secret{"a": kv2("a", "key")}

// down is a Vault that answers 503, as one that is sealed.
func down(w http.ResponseWriter, _ *http.Request) bool {
	answer(w, 503, map[string]any{"errors": []string{"Vault is sealed " + secret}})
	return true
}

// A given token cannot be had again, so it is renewed even where there are no calls, and through an outage.
func TestAGivenTokenIsKeptAlive(t *testing.T) {
	inTime(t, given(time.Hour), one, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		get(t, s, "a")
		time.Sleep(30 * time.Hour)
		if got := get(t, s, "a"); got != "k1" {
			t.Errorf("got %q", got)
		}
		if n := f.count("POST auth/token/renew-self"); n < 30 || n > 70 {
			t.Errorf("renewed %d times in 30 hours", n)
		}
		f.locked(func() { f.fails = down })
		time.Sleep(25 * time.Minute)
		f.locked(func() { f.fails = nil })
		time.Sleep(3 * time.Hour)
		if got := get(t, s, "a"); got != "k1" {
			t.Errorf("after an outage: got %q", got)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		n := f.count("")
		time.Sleep(30 * time.Hour)
		if f.count("") != n {
			t.Error("it is renewed after Close")
		}
	})
}

// A token without an end, or that cannot be renewed, is not renewed.
func TestATokenWithoutAnEnd(t *testing.T) {
	inTime(t, given(0), one, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		get(t, s, "a")
		time.Sleep(1000 * time.Hour)
		if get(t, s, "a"); f.count("POST ") != 0 {
			t.Errorf("asked %q", f.asked)
		}
	})
}

// A token of a login is renewed to its maximum, and then there is another, before it ends: no read meets an ended token.
func TestLogsInBeforeTheMaximum(t *testing.T) {
	inTime(t, role(time.Hour, 5*time.Hour), one, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		for range 24 * 60 {
			get(t, s, "a")
			time.Sleep(time.Minute)
		}
		if n := f.count("POST auth/approle/login"); n < 5 || n > 6 {
			t.Errorf("logged in %d times in 24 hours", n)
		}
		if n := f.count("GET auth/token/lookup-self"); n != 0 {
			t.Errorf("%d reads met a token that had ended", n)
		}
		if n := f.count("POST auth/token/renew-self"); n > 100 {
			t.Errorf("renewed %d times", n)
		}
	})
}

// While Vault refuses the login, a token that still lasts is used.
func TestALoginThatFailsDoesNotEndTheToken(t *testing.T) {
	inTime(t, role(time.Hour, time.Hour), one, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		get(t, s, "a")
		f.locked(func() { clear(f.logins) })
		time.Sleep(58 * time.Minute)
		get(t, s, "a")
		time.Sleep(2 * time.Minute)
		refused(t, s, "a")
	})
}

// Behind the cache, as in a brake: a lease lasts as long as it is used, to its maximum, and a call is never given one
// that has ended. Close gives all back.
func TestALeaseLastsWhileItIsUsed(t *testing.T) {
	inTime(t, role(12*time.Hour, 24*time.Hour), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(10*time.Minute, time.Hour)
		c := credentials.NewCache(s, 5*time.Minute, nil)
		for range 6 * 60 * 6 {
			if got := get(t, c, "consul"); !slices.Contains(f.lent(), got) {
				t.Fatalf("%q is used and has ended", got)
			}
			time.Sleep(10 * time.Second)
		}
		if n := f.count("GET consul/creds/payments"); n < 6 || n > 8 {
			t.Errorf("leased %d times in six hours of an hour's maximum", n)
		}
		if err := c.Close(t.Context()); err != nil || len(f.lent()) != 0 {
			t.Errorf("Close: %v; left %q", err, f.lent())
		}
	})
}

// A lease near its maximum is replaced and left to end, for calls that still have it; Close revokes both.
func TestALeaseAtItsMaximum(t *testing.T) {
	inTime(t, given(24*time.Hour), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(10*time.Minute, 15*time.Minute)
		first := get(t, s, "consul")
		time.Sleep(8 * time.Minute)
		if got := get(t, s, "consul"); got != first {
			t.Errorf("it can be renewed for seven minutes, and there is another: %q", got)
		}
		time.Sleep(4 * time.Minute)
		second := get(t, s, "consul")
		if second == first {
			t.Error("it can be renewed for three minutes, and there is no other")
		}
		if live := f.lent(); len(live) != 2 {
			t.Errorf("there is %q", live)
		}
		if err := s.Close(t.Context()); err != nil || len(f.lent()) != 0 {
			t.Errorf("Close: %v; left %q", err, f.lent())
		}
	})
}

// A path that the policy does not allow costs no login: the token is good for everything else, and so are its leases.
func TestADeniedPathDoesNotCostTheToken(t *testing.T) {
	secrets := map[string]hashivault.Secret{"denied": kv2("denied/a", "key"), "consul": leased["consul"]}
	inTime(t, role(time.Hour, time.Hour), secrets, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, time.Hour)
		first := get(t, s, "consul")
		for range 3 {
			refused(t, s, "denied")
		}
		if got := get(t, s, "consul"); got != first || f.count("POST auth/approle/login") != 1 {
			t.Errorf("asked %q", f.asked)
		}
	})
}

// A lease that cannot be renewed is used for half of its time and then replaced; an idle source lets it end.
func TestALeaseThatCannotBeRenewed(t *testing.T) {
	inTime(t, role(24*time.Hour, 48*time.Hour), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.locked(func() { f.role = fakeRole{ttl: time.Hour} })
		var got []string
		for range 4 {
			got = append(got, get(t, s, "consul"))
			time.Sleep(20 * time.Minute)
		}
		if got[0] != got[1] || got[1] == got[2] || got[2] != got[3] {
			t.Errorf("every 20 minutes: %q", got)
		}
		if f.count("PUT sys/leases/renew") != 0 {
			t.Error("it was asked to be renewed")
		}
		time.Sleep(2 * time.Hour)
		if len(f.lent()) != 0 {
			t.Error("it does not end")
		}
	})
}

// What is leased ends with the token that it was leased under, and says so.
func TestALeaseEndsWithItsToken(t *testing.T) {
	inTime(t, role(time.Minute, time.Minute), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, time.Hour)
		c, err := s.Get(t.Context(), "consul")
		if err != nil || time.Until(c.Expires()) > time.Minute {
			t.Errorf("it ends in %v, %v", time.Until(c.Expires()), err)
		}
		time.Sleep(59 * time.Second)
		c, err = s.Get(t.Context(), "consul") // with a new token
		if err != nil || time.Until(c.Expires()) < 50*time.Second {
			t.Errorf("later it ends in %v, %v", time.Until(c.Expires()), err)
		}
	})
}

// While Vault is out nothing is leased and nothing is said to be renewed; afterwards the lease goes on.
func TestALeaseThroughAnOutage(t *testing.T) {
	inTime(t, role(24*time.Hour, 48*time.Hour), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, 24*time.Hour)
		first := get(t, s, "consul")
		f.locked(func() { f.fails = down })
		time.Sleep(50 * time.Minute)
		refused(t, s, "consul")
		if err := s.Close(t.Context()); err == nil {
			t.Error("Close says that it has given back what it has not")
		}
		f.locked(func() { f.fails = nil })
		if !slices.Equal(f.lent(), []string{first}) {
			t.Errorf("there is %q", f.lent())
		}
		if err := s.Close(t.Context()); err != nil || len(f.lent()) != 0 {
			t.Errorf("Close again: %v; left %q", err, f.lent())
		}
	})
}

// A lease whose answer cannot be used, or that comes when the source is closed, is given back.
func TestALeaseThatNobodyUses(t *testing.T) {
	secrets := map[string]hashivault.Secret{"consul": {Engine: hashivault.Leased, Mount: "consul", Path: "creds/payments", Fields: []string{"password"}}}
	inTime(t, given(time.Hour), secrets, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, time.Hour)
		refused(t, s, "consul")
		if len(f.lent()) != 0 {
			t.Errorf("left %q", f.lent())
		}
	})
	inTime(t, given(time.Hour), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, time.Hour)
		f.locked(func() {
			f.fails = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v1/consul/creds/payments" {
					f.fails = nil
					f.mu.Unlock()
					defer f.mu.Lock()
					if err := s.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				return false
			}
		})
		refused(t, s, "consul")
		if len(f.lent()) != 0 {
			t.Errorf("left %q", f.lent())
		}
	})
}

// A batch token cannot be revoked, so its leases are, one by one.
func TestABatchToken(t *testing.T) {
	inTime(t, func(f *fakeVault) hashivault.Auth {
		f.locked(func() { f.logins["approle/r1:s1"] = fakeLogin{ttl: time.Hour, batch: true} })
		return hashivault.AppRole("r1", "s1")
	}, leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, time.Hour)
		get(t, s, "consul")
		if err := s.Close(t.Context()); err != nil || len(f.lent()) != 0 || f.count("POST auth/token/revoke-self") != 0 {
			t.Errorf("Close: %v; left %q after %q", err, f.lent(), f.asked)
		}
	})
}

// A source prints without what it holds, whatever verb is used.
func TestPrintsNoSecret(t *testing.T) {
	inTime(t, func(f *fakeVault) hashivault.Auth {
		f.locked(func() { f.logins["approle/r1:"+secret] = fakeLogin{ttl: time.Hour, renewable: true} })
		return hashivault.AppRole("r1", secret)
	}, leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.consul(time.Hour, time.Hour)
		value := get(t, s, "consul")
		holds := struct {
			s *hashivault.Source
			a hashivault.Auth
		}{s, hashivault.Token(secret)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb+" "+verb, s, holds); strings.Contains(text, "T0P") || strings.Contains(text, "hvs.") || strings.Contains(text, value) {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	})
}

// The namespace goes with every request, the login among them.
func TestNamespace(t *testing.T) {
	f := newFake(t)
	f.namespace = "admin/payments"
	f.put2("a", map[string]any{"key": "k1"})
	o := f.options()
	o.Namespace = "admin/payments"
	s := hashivault.New(f.address(), hashivault.AppRole(f.appRole(time.Hour, time.Hour)), one, o)
	if got := get(t, s, "a"); got != "k1" {
		t.Errorf("got %q", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is wrong with the arguments is told, with nothing sent.
func TestWrongArguments(t *testing.T) {
	f := newFake(t)
	token := hashivault.Token(f.token(time.Hour))
	for name, bad := range map[string]hashivault.Secret{
		"no fields": {Mount: "secret", Path: "a"}, "no mount": {Path: "a", Fields: []string{"key"}}, "no path": {Mount: "secret", Fields: []string{"key"}},
		"another mount": kv2("../../kv/a", "key"), "an absolute path": kv2("/a", "key"), "a path with an end": kv2("a/", "key"), "two slashes": kv2("a//b", "key"),
		"an engine that is none": {Engine: 7, Mount: "secret", Path: "a", Fields: []string{"key"}},
		"a version of KV1":       {Engine: hashivault.KV1, Mount: "kv", Path: "a", Version: 2, Fields: []string{"key"}},
		"a version below 1":      {Mount: "secret", Path: "a", Version: -1, Fields: []string{"key"}},
	} {
		s := hashivault.New(f.address(), token, map[string]hashivault.Secret{"a": bad}, f.options())
		if err := refused(t, s, "a"); errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("asked %q", f.asked)
	}
	_, err := hashivault.New("http://vault.test:8200", token, one, nil).Get(t.Context(), "a")
	if err == nil {
		t.Error("the token would go out in clear text")
	}
}

// Whatever Vault answers, an error says nothing of it, and nothing is made of it.
func TestStrangeAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": secret, "a list": `["` + secret + `"]`, "no data": `{}`, "data of another form": `{"data":"` + secret + `"}`, "data.data of another form": `{"data":{"data":"` + secret + `"}}`,
		"a lease that is a number": `{"lease_id":7,"data":{"data":{"key":"` + secret + `"}}}`,
	} {
		f := newFake(t)
		s := hashivault.New(f.address(), hashivault.Token(f.token(0)), one, f.options())
		f.locked(func() {
			f.fails = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v1/secret/data/a" {
					return false
				}
				_, _ = io.WriteString(w, text)
				return true
			}
		})
		t.Run(name, func(t *testing.T) { refused(t, s, "a") })
	}
}

// A login that Vault answers strangely is none: nothing is asked without a token, and no secret is called unknown.
func TestStrangeLogins(t *testing.T) {
	for _, tt := range []struct {
		status int
		text   string
	}{{200, `{}`}, {200, `{"auth":null}`}, {200, `{"auth":{"client_token":""}}`}, {200, `{"auth":"` + secret + `"}`}, {404, secret}, {403, secret}} {
		f := newFake(t)
		s := hashivault.New(f.address(), hashivault.AppRole(f.appRole(time.Hour, time.Hour)), one, f.options())
		f.locked(func() {
			f.fails = func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.text)
				return true
			}
		})
		if err := refused(t, s, "a"); errors.Is(err, credentials.ErrUnknown) || f.count("") != 1 {
			t.Errorf("%d %s: %v after %q", tt.status, tt.text, err, f.asked)
		}
	}
}

// Get returns when its context ends, whoever is asking Vault meanwhile.
func TestGetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := transport(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		s := hashivault.New("https://vault.test", hashivault.Token("t"), one, &vaultOptions{Base: hangs})
		go func() { _, _ = s.Get(context.Background(), "a") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		time.Sleep(time.Minute)
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What Vault neither ends nor can take back, such as a secret that is written and not made, is not kept once it was read
// again: a brake that runs for months would have it a hundred thousand times.
func TestWhatIsLeftToNobodyIsForgotten(t *testing.T) {
	inTime(t, given(0), leased, func(t *testing.T, f *fakeVault, s *hashivault.Source) {
		f.locked(func() {
			f.fails = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v1/consul/creds/payments" {
					return false
				}
				answer(w, 200, map[string]any{"lease_id": "", "lease_duration": 0, "renewable": false, "data": map[string]any{"token": secret}})
				return true
			}
		})
		for range 10 {
			get(t, s, "consul")
		}
		if n := reflect.ValueOf(s).Elem().FieldByName("old").Len(); n > 1 {
			t.Errorf("%d are kept that were replaced", n)
		}
	})
}
