package credentials_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keybrake/keybrake-go/credentials"
)

const secret = "sk_live_T0PsecretT0P"

// leaks reports whether s shows the secret: plainly, in hex of both cases, quoted, or as numbers.
func leaks(s string) bool {
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret), fmt.Sprint([]byte(secret)), fmt.Sprintf("%U", []rune(secret)), "T0P"} {
		if strings.Contains(s, strings.Trim(form, "[]")) {
			return true
		}
	}
	return false
}

// Whatever holds a credential prints without it, under every verb, encoder and logger.
func TestNothingPrintsASecret(t *testing.T) {
	synctest.Test(t, nothingPrintsASecret) // to know when the cache is at rest, for printing reads it without its lock
}

func nothingPrintsASecret(t *testing.T) {
	c := credentials.New(secret, secret)
	static := credentials.Static(map[string]string{"stripe": secret})
	cache := credentials.NewCache(static, 1<<40, nil)
	if _, err := cache.Get(t.Context(), "stripe"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	type open struct {
		C credentials.Credential
		P *credentials.Credential
		S credentials.Source
	}
	type closed struct {
		c credentials.Credential
		p *credentials.Credential
		s credentials.Source
	}
	for name, v := range map[string]any{
		"Credential": c, "*Credential": &c, "Static": static, "Cache": cache,
		"struct": open{c, &c, static}, "*struct": &open{c, &c, cache}, "unexported": closed{c, &c, static}, "*unexported": &closed{c, &c, cache},
		"slice": []credentials.Credential{c}, "map": map[string]credentials.Credential{"a": c}, "any": []any{c, static},
		"error": fmt.Errorf("with %v and %w", c, errors.New("x")),
	} {
		for how, out := range everyForm(v) {
			if leaks(out) {
				t.Errorf("%s, %s: %s", name, how, out)
			}
		}
	}
}

func everyForm(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range strings.Fields("%v %+v %#v %s %+s %#s %q %x %X %#x %d %o %b %t %T %p %U %c %10.3s %+q %w") {
		out[verb] = fmt.Sprintf(verb, v)
	}
	out["Sprint"] = fmt.Sprint(v)
	b, err := json.Marshal(v)
	out["JSON"] = fmt.Sprint(string(b), err)
	b, err = xml.Marshal(v)
	out["XML"] = fmt.Sprint(string(b), err)
	var g bytes.Buffer
	err = gob.NewEncoder(&g).Encode(v)
	out["gob"] = fmt.Sprint(g.String(), err)
	var l bytes.Buffer
	slog.New(slog.NewTextHandler(&l, nil)).Info("x", "v", v, slog.Group("g", "v", v))
	slog.New(slog.NewJSONHandler(&l, nil)).Info("x", "v", v)
	log.New(&l, "", 0).Print(v)
	out["loggers"] = l.String()
	return out
}

// The test above can fail.
func TestLeaks(t *testing.T) {
	for how, out := range everyForm(struct{ S string }{secret}) {
		if !leaks(out) && !strings.Contains("%T %p %t %10.3s gob", how) && how != "XML" {
			t.Errorf("%s does not show a secret: %s", how, out)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	c := credentials.New(secret)
	if got := fmt.Sprintf("%v %s %q %+v %#v %x %d", c, c, c, c, c, c, c); got != strings.TrimSpace(strings.Repeat("[credential] ", 7)) {
		t.Errorf("got %s", got)
	}
	if got := c.String() + c.GoString() + c.LogValue().String(); got != strings.Repeat("[credential]", 3) {
		t.Errorf("got %s", got)
	}
	if b, err := json.Marshal(c); err != nil || string(b) != `"[credential]"` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestReveal(t *testing.T) {
	parts := []string{"AC1", "token"}
	c := credentials.New(parts...)
	parts[0] = "changed"
	c.Reveal()[1] = "changed"
	if got := c.Reveal(); len(got) != 2 || got[0] != "AC1" || got[1] != "token" {
		t.Errorf("got %q", got)
	}
	if got := (credentials.Credential{}).Reveal(); got != nil {
		t.Errorf("the zero Credential reveals %q", got)
	}
}

func get(t *testing.T, s credentials.Source, ref string) string {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	parts := c.Reveal()
	if len(parts) != 1 {
		t.Fatalf("%d parts", len(parts))
	}
	return parts[0]
}

// refused is the text of the error of Get, which names no value.
func refused(t *testing.T, s credentials.Source, ref string) (string, error) {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err == nil {
		t.Fatalf("%q was found", ref)
	}
	if c.Reveal() != nil {
		t.Errorf("an error comes with a credential")
	}
	if leaks(err.Error()) {
		t.Errorf("the error shows the secret: %v", err)
	}
	return err.Error(), err
}

func TestSourceFunc(t *testing.T) {
	s := credentials.SourceFunc(func(_ context.Context, ref string) (credentials.Credential, error) {
		return credentials.New("v-" + ref), nil
	})
	if got := get(t, s, "a"); got != "v-a" {
		t.Errorf("got %q", got)
	}
}

func TestStatic(t *testing.T) {
	values := map[string]string{"stripe": secret, "empty": ""}
	s := credentials.Static(values)
	values["stripe"], values["later"] = "changed", "added"
	if got := get(t, s, "stripe"); got != secret {
		t.Errorf("got %q", got)
	}
	for _, ref := range []string{"empty", "later", ""} {
		if text, err := refused(t, s, ref); !errors.Is(err, credentials.ErrUnknown) || text != fmt.Sprintf("credentials: unknown reference %q", ref) {
			t.Errorf("got %v", err)
		}
	}
	if err := credentials.Check(t.Context(), s); err == nil || err.Error() != `credentials: unknown reference "empty"` {
		t.Errorf("Check: %v", err)
	}
	if err := credentials.Check(t.Context(), credentials.Static(map[string]string{"a": secret})); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("KB_TEST_STRIPE", secret)
	t.Setenv("KB_TEST_EMPTY", "")
	e := credentials.Env{"stripe": "KB_TEST_STRIPE", "empty": "KB_TEST_EMPTY", "unset": "KB_TEST_UNSET", "nameless": ""}
	if got := get(t, e, "stripe"); got != secret {
		t.Errorf("got %q", got)
	}
	for ref, want := range map[string]string{
		"empty":    `credentials: unknown reference "empty": the environment variable KB_TEST_EMPTY is not set or empty`,
		"unset":    `credentials: unknown reference "unset": the environment variable KB_TEST_UNSET is not set or empty`,
		"nameless": `credentials: unknown reference "nameless": its environment variable (name not shown, because it is not of the form STRIPE_SECRET_KEY) is not set or empty`,
		"other":    `credentials: unknown reference "other"`,
	} {
		if text, err := refused(t, e, ref); !errors.Is(err, credentials.ErrUnknown) || text != want {
			t.Errorf("got %v", err)
		}
	}
	err := credentials.Check(t.Context(), e)
	if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), "KB_TEST_EMPTY") || !strings.Contains(err.Error(), "KB_TEST_UNSET") || leaks(err.Error()) {
		t.Errorf("Check: %v", err)
	}
	if err := credentials.Check(t.Context(), credentials.Env{"stripe": "KB_TEST_STRIPE"}); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// The commonest slip is to write the secret where its variable's name belongs.
func TestEnvDoesNotNameASecret(t *testing.T) {
	for _, slip := range []string{secret, "AC0123:T0PsecretT0P", "T0P-0123"} {
		refused(t, credentials.Env{"stripe": slip}, "stripe")
	}
}

func TestCheck(t *testing.T) {
	if credentials.Check(t.Context(), nil) == nil {
		t.Error("no source passes")
	}
	if err := credentials.Check(t.Context(), credentials.SourceFunc(nil)); err != nil {
		t.Errorf("a source that cannot tell: %v", err)
	}
}
