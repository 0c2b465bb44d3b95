package onepassword_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/onepassword"
)

const (
	secret = "sk_live_T0PsecretT0P"
	token  = "eyJ.T0P.token"

	payments = "ftz4pm2xxwmwrsd7rjqn7grzfz" // the ids have 26 characters
	sms      = "ytrfte14kw1uex5txaore1emkz"
	stripe   = "2fcbqwe9ndg175zg2dzwftvkpa"
	twilio   = "wepiqdxdzncjtnvmv5fegud4qy"
	archived = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// A fakeConnect answers as a Connect server's documentation says, in error texts that hold what must not be passed on.
type fakeConnect struct {
	t      *testing.T
	status int // answered instead, if not 0

	mu    sync.Mutex
	asked []string
}

type object = map[string]any

func field(id, label, value, section string) object {
	f := object{"id": id, "label": label, "type": "CONCEALED"}
	if value != "" {
		f["value"] = value
	}
	if section != "" {
		f["section"] = object{"id": "section-of-" + section, "label": section}
	}
	return f
}

var answers = map[string]any{
	"/v1/vaults?":                                                       nil, // nobody needs the list of all
	"/v1/vaults?filter=name eq \"Payments\"":                            []object{{"id": payments, "name": "Payments"}},
	"/v1/vaults?filter=name eq \"payments\"":                            []object{{"id": payments, "name": "Payments"}}, // as if it did not look at case
	"/v1/vaults?filter=name eq \"Twice\"":                               []object{{"id": payments, "name": "Twice"}, {"id": sms, "name": "Twice"}},
	"/v1/vaults?filter=name eq \"None\"":                                []object{},
	"/v1/vaults?filter=name eq \"Wild\"":                                []object{{"id": "../../x", "name": "Wild"}},
	"/v1/vaults/" + payments + "/items?filter=title eq \"Stripe live\"": []object{{"id": stripe, "title": "Stripe live"}},
	"/v1/vaults/" + payments + "/items?filter=title eq \"Twice\"":       []object{{"id": stripe, "title": "Twice"}, {"id": twilio, "title": "Twice"}},
	"/v1/vaults/" + payments + "/items?filter=title eq \"None\"":        []object{},
	"/v1/vaults/" + payments + "/items/" + archived:                     object{"id": archived, "state": "ARCHIVED", "fields": []object{field("f", "credential", secret, "")}},
	"/v1/vaults/" + payments + "/items/" + stripe: object{"id": stripe, "title": "Stripe live", "fields": []object{
		field("username", "username", "", ""), field("credential", "secret key", secret, ""), field("x1", "note", "a", "one"), field("x2", "note", "b", "two"), field("x3", "a/b", "slash", ""),
	}},
	"/v1/vaults/" + sms + "/items/" + twilio: object{"id": twilio, "fields": []object{
		field("f1", "account sid", "AC1", "api"), field("f2", "key sid", "SK1", "api"), field("f3", "secret", secret, "api"), field("f4", "secret", "old", "before"),
	}},
}

func (f *fakeConnect) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	path := r.URL.Path
	if r.URL.RawQuery != "" {
		path += "?filter=" + r.URL.Query().Get("filter")
	}
	f.asked = append(f.asked, path)
	if r.Method != http.MethodGet || r.URL.Host != "connect.test" || r.URL.RawPath != "" || len(r.URL.Query()) > 1 {
		f.t.Errorf("asked %s %s", r.Method, r.URL)
	}
	answer, ok := answers[path]
	status := 200
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		status, answer = 401, object{"status": 401, "message": "Invalid token signature " + r.Header.Get("Authorization")}
	case f.status != 0:
		status, answer = f.status, object{"status": f.status, "message": secret}
	case !ok:
		status, answer = 404, object{"status": 404, "message": "Item not found, but " + secret}
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
	return w.Result(), nil
}

func connect(f *fakeConnect, items map[string]onepassword.Item) credentials.Source {
	return onepassword.Connect("https://connect.test", token, items, &onepassword.ConnectOptions{Base: f})
}

func item(vault, item string, fields ...string) onepassword.Item {
	return onepassword.Item{Vault: vault, Item: item, Fields: fields}
}

func refused(t *testing.T, s credentials.Source, ref string) error {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err == nil {
		t.Fatalf("%s was found", ref)
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); c.Reveal() != nil || strings.Contains(text, "T0P") {
		t.Errorf("%s: %s", ref, text)
	}
	var fault *credentials.Fault
	if !errors.As(err, &fault) {
		t.Errorf("%s: a %T, of which the brake shows nothing", ref, err)
	}
	return err
}

func got(t *testing.T, s credentials.Source, ref string) string {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return strings.Join(c.Reveal(), " ")
}

func TestConnect(t *testing.T) {
	f := &fakeConnect{t: t}
	s := connect(f, map[string]onepassword.Item{
		"by name": item("Payments", "Stripe live", "secret key"), "by id": item(payments, stripe, "credential"),
		"parts": item(sms, twilio, "api/account sid", "api/key sid", "api/secret"), "section's id": item(sms, twilio, "section-of-before/secret"),
		"of one section": item(payments, stripe, "two/note", "one/note"), "with a slash": item(payments, stripe, "a/b"),
	})
	for ref, want := range map[string]string{"by name": secret, "by id": secret, "parts": "AC1 SK1 " + secret, "section's id": "old", "of one section": "b a", "with a slash": "slash"} {
		if v := got(t, s, ref); v != want {
			t.Errorf("%s: got %q, want %q", ref, v, want)
		}
	}
	f.asked = nil
	got(t, s, "by id")
	if len(f.asked) != 1 {
		t.Errorf("by id: asked %q", f.asked)
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "T0P") {
		t.Errorf("it prints its token: %s", text)
	}
}

func TestConnectErrors(t *testing.T) {
	f := &fakeConnect{t: t}
	missing := map[string]onepassword.Item{
		"no vault": item("None", "Stripe live", "secret key"), "another case": item("payments", "Stripe live", "secret key"), "a vault's id": item(archived, stripe, "credential"),
		"an id that is a path": item("Wild", "Stripe live", "secret key"),
		"no item":              item(payments, "None", "secret key"), "an item's id": item(payments, twilio, "credential"), "archived": item(payments, archived, "credential"),
		"no field": item(payments, stripe, "secret key", "password"), "empty": item(payments, stripe, "username"), "another section": item(payments, stripe, "three/note"),
	}
	s := connect(f, missing)
	for ref := range missing {
		if err := refused(t, s, ref); !errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if err := refused(t, s, "no reference"); !errors.Is(err, credentials.ErrUnknown) {
		t.Error(err)
	}
	for _, path := range f.asked {
		if strings.Contains(path, "..") {
			t.Errorf("an id that the server gave has led to %s", path)
		}
	}
	if err := credentials.Check(t.Context(), s); err == nil || strings.Count(err.Error(), "\n") != len(missing)-1 {
		t.Errorf("Check: %v", err)
	}
	several := map[string]onepassword.Item{"vaults": item("Twice", "x", "y"), "items": item(payments, "Twice", "y"), "fields": item(payments, stripe, "note"), "sections": item(sms, twilio, "secret")}
	s = connect(f, several)
	for ref := range several {
		if err := refused(t, s, ref); errors.Is(err, credentials.ErrUnknown) || !strings.Contains(err.Error(), "several") {
			t.Errorf("several %s: %v", ref, err)
		}
	}
	s = connect(f, map[string]onepassword.Item{"a": item(payments, stripe, "credential")})
	for _, f.status = range []int{400, 401, 403, 429, 500, 503, 307} {
		if err := refused(t, s, "a"); errors.Is(err, credentials.ErrUnknown) || !strings.Contains(err.Error(), fmt.Sprint(f.status)) {
			t.Errorf("%d: %v", f.status, err)
		}
	}
	other := onepassword.Connect("https://connect.test", "T0Pother", map[string]onepassword.Item{"a": item(payments, stripe, "credential")}, &onepassword.ConnectOptions{Base: f})
	if err := refused(t, other, "a"); errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("another token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// What is wrong with the arguments is told, with nothing sent: a name must not become a path or a part of a filter.
func TestWrongArguments(t *testing.T) {
	f := &fakeConnect{t: t}
	items := map[string]onepassword.Item{}
	for i, it := range []onepassword.Item{
		{}, item("", stripe, "x"), item(payments, "", "x"), item(payments, stripe), item(payments, stripe, ""), item(payments, stripe, "x", ""),
		item(`a" or name co "`, stripe, "x"), item(payments, `a\`, "x"), item("../"+payments, stripe, "x"), item("..", stripe, "x"), item(payments, stripe+"/files", "x"),
		item(payments, stripe+"?attribute=otp", "x"), item(payments, stripe, "x?attribute=otp"), item(payments, stripe, "x#y"), item(payments, "a\x00", "x"), item(payments, "%2e%2e", "x"),
	} {
		items[fmt.Sprint(i)] = it
	}
	for _, s := range []credentials.Source{connect(f, items), onepassword.ServiceAccount(token, items, &onepassword.AccountOptions{Program: "/does/not/exist"})} {
		for ref := range items {
			if err := refused(t, s, ref); errors.Is(err, credentials.ErrUnknown) || !strings.Contains(err.Error(), "Item") {
				t.Errorf("%+v: %v", items[ref], err)
			}
		}
	}
	good := map[string]onepassword.Item{"a": item(payments, stripe, "credential")}
	_ = refused(t, onepassword.Connect("https://connect.test", "", good, &onepassword.ConnectOptions{Base: f}), "a")
	_ = refused(t, onepassword.Connect("http://connect.test", token, good, nil), "a")
	_ = refused(t, onepassword.ServiceAccount("", good, nil), "a")
	if len(f.asked) != 0 {
		t.Errorf("asked %q", f.asked)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := connect(&fakeConnect{t: t}, map[string]onepassword.Item{"a": item("Payments", "Stripe live", "secret key")})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if c, err := s.Get(t.Context(), "a"); err != nil || c.Reveal()[0] != secret {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
