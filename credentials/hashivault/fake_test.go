package hashivault_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeVault answers as Vault's documentation says, by the clock of whoever asks, so that it can be used where time is
// made up. It is strict: what a real one would not understand fails the test. Its error texts hold the secrets, to see
// that they are not passed on.
type fakeVault struct {
	t *testing.T

	mu        sync.Mutex
	asked     []string // "GET secret/data/a", in order
	namespace string   // that is expected in the header
	kv2       map[string][]map[string]any
	kv1       map[string]map[string]any
	logins    map[string]fakeLogin // "approle/r1:s1", "kubernetes/role:jwt"
	tokens    map[string]*fakeToken
	leases    map[string]*fakeLease
	role      fakeRole // of consul/creds/payments
	made      int
	fails     func(w http.ResponseWriter, r *http.Request) bool // answers instead
}

type fakeLogin struct {
	ttl, max  time.Duration
	batch     bool
	renewable bool
}

type fakeToken struct {
	fakeLogin
	began, ends time.Time // zero ends: never
	denies      string    // a prefix of paths that its policy does not allow
}

type fakeRole struct {
	ttl, max  time.Duration
	renewable bool
}

type fakeLease struct {
	fakeRole
	token       string
	secret      string
	began, ends time.Time
}

func newFake(t *testing.T) *fakeVault {
	return &fakeVault{
		t: t, kv2: map[string][]map[string]any{}, kv1: map[string]map[string]any{}, logins: map[string]fakeLogin{},
		tokens: map[string]*fakeToken{}, leases: map[string]*fakeLease{},
	}
}

// RoundTrip answers without a network, so that it can be used where time is made up.
func (f *fakeVault) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (f *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok || r.Header.Get("X-Vault-Request") != "true" || r.Header.Get("X-Vault-Namespace") != f.namespace {
		f.t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
	}
	f.asked = append(f.asked, r.Method+" "+path)
	if f.fails != nil && f.fails(w, r) {
		return
	}
	body := map[string]any{}
	if r.Body != nil {
		data, _ := io.ReadAll(r.Body)
		if len(data) > 0 && (json.Unmarshal(data, &body) != nil || r.Header.Get("Content-Type") != "application/json") {
			f.t.Errorf("%s %s: the body is not JSON: %q", r.Method, path, data)
		}
	}
	if mount, ok := strings.CutSuffix(path, "/login"); ok && r.Method == "POST" {
		f.login(w, r, strings.TrimPrefix(mount, "auth/"), body)
		return
	}
	token := r.Header.Get("X-Vault-Token")
	t := f.alive(token)
	if t == nil || t.denies != "" && strings.HasPrefix(path, t.denies) {
		answer(w, 403, map[string]any{"errors": []string{"permission denied for " + token + " and " + secret}})
		return
	}
	f.serve(w, r, path, token, t, body)
}

func (f *fakeVault) alive(token string) *fakeToken {
	t := f.tokens[token]
	if t != nil && !t.ends.IsZero() && !time.Now().Before(t.ends) {
		f.end(token)
		return nil
	}
	return t
}

// end takes a token away, and with it what was leased under it.
func (f *fakeVault) end(token string) {
	delete(f.tokens, token)
	for id, l := range f.leases {
		if l.token == token {
			delete(f.leases, id)
		}
	}
}

func (f *fakeVault) serve(w http.ResponseWriter, r *http.Request, path, token string, t *fakeToken, body map[string]any) {
	name := r.Method + " " + path
	switch {
	case name == "GET auth/token/lookup-self":
		answer(w, 200, map[string]any{"data": map[string]any{"id": token, "ttl": seconds(t.ends), "renewable": t.renewable, "type": "service"}})
	case name == "POST auth/token/renew-self":
		if !t.renewable {
			answer(w, 400, map[string]any{"errors": []string{"lease is not renewable"}})
			return
		}
		t.ends = last(t.began, t.ttl, t.max)
		answer(w, 200, f.auth(token, t))
	case name == "POST auth/token/revoke-self":
		f.end(token)
		w.WriteHeader(204)
	case name == "PUT sys/leases/renew":
		l := f.leases[fmt.Sprint(body["lease_id"])]
		if l == nil || !l.renewable || !time.Now().Before(l.ends) {
			answer(w, 400, map[string]any{"errors": []string{"lease not found"}})
			return
		}
		l.ends = last(l.began, time.Duration(body["increment"].(float64))*time.Second, l.max)
		answer(w, 200, map[string]any{"lease_id": body["lease_id"], "renewable": true, "lease_duration": seconds(l.ends)})
	case name == "PUT sys/leases/revoke":
		delete(f.leases, fmt.Sprint(body["lease_id"]))
		w.WriteHeader(204)
	case name == "GET consul/creds/payments":
		f.made++
		id, value := fmt.Sprintf("consul/creds/payments/%d", f.made), fmt.Sprintf("made-%d", f.made)
		now := time.Now()
		f.leases[id] = &fakeLease{fakeRole: f.role, token: token, secret: value, began: now, ends: last(now, f.role.ttl, f.role.max)}
		answer(w, 200, map[string]any{"lease_id": id, "renewable": f.role.renewable, "lease_duration": seconds(f.leases[id].ends), "data": map[string]any{"token": value, "accessor": "a"}})
	case strings.HasPrefix(name, "GET secret/data/"):
		f.serveKV2(w, strings.TrimPrefix(path, "secret/data/"), r.URL.Query().Get("version"))
	case strings.HasPrefix(name, "GET kv/") && f.kv1[strings.TrimPrefix(path, "kv/")] != nil:
		answer(w, 200, map[string]any{"lease_id": "", "lease_duration": 2764800, "renewable": false, "data": f.kv1[strings.TrimPrefix(path, "kv/")]})
	default:
		answer(w, 404, map[string]any{"errors": []string{}})
	}
}

func (f *fakeVault) serveKV2(w http.ResponseWriter, path, version string) {
	versions, n := f.kv2[path], 0
	if n = len(versions); version != "" {
		_, _ = fmt.Sscan(version, &n)
	}
	switch {
	case n < 1 || n > len(versions):
		answer(w, 404, map[string]any{"errors": []string{}})
	case versions[n-1] == nil: // deleted
		answer(w, 404, map[string]any{"data": map[string]any{"data": nil, "metadata": map[string]any{"version": n, "deletion_time": "2026-11-23T22:03:41Z"}}})
	default:
		answer(w, 200, map[string]any{"data": map[string]any{"data": versions[n-1], "metadata": map[string]any{"version": n}}, "lease_id": "", "lease_duration": 0, "renewable": false})
	}
}

func (f *fakeVault) login(w http.ResponseWriter, r *http.Request, mount string, body map[string]any) {
	if r.Header.Get("X-Vault-Token") != "" {
		f.t.Error("a login carries a token")
	}
	key := fmt.Sprintf("%s/%v:%v", mount, body["role_id"], body["secret_id"])
	if body["jwt"] != nil {
		key = fmt.Sprintf("%s/%v:%v", mount, body["role"], body["jwt"])
	}
	l, ok := f.logins[key]
	if !ok {
		answer(w, 400, map[string]any{"errors": []string{"invalid role or secret ID " + fmt.Sprint(body)}})
		return
	}
	f.made++
	token, now := fmt.Sprintf("hvs.%d", f.made), time.Now()
	f.tokens[token] = &fakeToken{fakeLogin: l, began: now, ends: last(now, l.ttl, l.max), denies: "secret/data/denied"}
	answer(w, 200, f.auth(token, f.tokens[token]))
}

func (f *fakeVault) auth(token string, t *fakeToken) map[string]any {
	kind := "service"
	if t.batch {
		kind = "batch"
	}
	return map[string]any{"auth": map[string]any{"client_token": token, "accessor": "a", "lease_duration": seconds(t.ends), "renewable": t.renewable, "token_type": kind}}
}

// last is when something ends that is to last for ttl from now, and for max from when it began.
func last(began time.Time, ttl, most time.Duration) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	ends := time.Now().Add(ttl)
	if m := began.Add(most); most > 0 && m.Before(ends) {
		ends = m
	}
	return ends
}

func seconds(ends time.Time) int64 {
	if ends.IsZero() {
		return 0
	}
	return int64(time.Until(ends) / time.Second)
}

func answer(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	v["request_id"] = "f65f6c0d-dea2-80d9-bc2b-9b831579bbaf"
	_ = json.NewEncoder(w).Encode(v)
}

// What follows sets it up, as somebody does with a real one.

func (f *fakeVault) address() string         { return "https://vault.test:8200" }
func (f *fakeVault) options() *vaultOptions  { return &vaultOptions{Base: f} }
func (f *fakeVault) locked(change func())    { f.mu.Lock(); defer f.mu.Unlock(); change() }
func (f *fakeVault) count(prefix string) int { return countOf(f, prefix) }

func countOf(f *fakeVault, prefix string) (n int) {
	f.locked(func() {
		for _, a := range f.asked {
			if strings.HasPrefix(a, prefix) {
				n++
			}
		}
	})
	return n
}

func (f *fakeVault) put2(path string, fields map[string]any) {
	f.locked(func() { f.kv2[path] = append(f.kv2[path], fields) })
}

func (f *fakeVault) delete2(path string) {
	f.locked(func() { f.kv2[path][len(f.kv2[path])-1] = nil })
}

func (f *fakeVault) put1(path string, fields map[string]any) {
	f.locked(func() { f.kv1[path] = fields })
}

func (f *fakeVault) token(ttl time.Duration) string {
	f.made++
	token := fmt.Sprintf("hvs.given%d", f.made)
	f.locked(func() {
		now := time.Now()
		f.tokens[token] = &fakeToken{fakeLogin: fakeLogin{ttl: ttl, renewable: ttl > 0}, began: now, ends: last(now, ttl, 0), denies: "secret/data/denied"}
	})
	return token
}

func (f *fakeVault) appRole(ttl, most time.Duration) (role, secretID string) {
	f.locked(func() { f.logins["approle/r1:s1"] = fakeLogin{ttl: ttl, max: most, renewable: true} })
	return "r1", "s1"
}

func (f *fakeVault) jwt(mount, role string) string {
	f.locked(func() { f.logins[mount+"/"+role+":jwt.of.pod"] = fakeLogin{ttl: time.Hour, renewable: true} })
	return "jwt.of.pod"
}

func (f *fakeVault) consul(ttl, most time.Duration) {
	f.locked(func() { f.role = fakeRole{ttl, most, true} })
}

// endTokens ends every token but those that somebody has given.
func (f *fakeVault) endTokens() {
	f.locked(func() {
		for token := range f.tokens {
			if !strings.HasPrefix(token, "hvs.given") {
				f.end(token)
			}
		}
	})
}

func (f *fakeVault) lent() (live []string) {
	f.locked(func() {
		for _, l := range f.leases {
			if time.Now().Before(l.ends) {
				live = append(live, l.secret)
			}
		}
	})
	return live
}
