package onepassword_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/onepassword"
)

// The test's own program plays op when it is run as op is: op itself needs an account at 1Password. It looks for what to
// do in the directory that it is told is the user's home.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "read" {
		os.Exit(op(os.Args[1:], os.Getenv("HOME")))
	}
	os.Exit(m.Run())
}

// A call is how op was run.
type call struct{ Args, Env []string }

func op(args []string, home string) int {
	data, _ := json.Marshal(call{args, os.Environ()})
	if err := os.WriteFile(filepath.Join(home, "call.json"), data, 0o600); err != nil {
		return 9
	}
	reference := args[len(args)-1]
	switch what, _ := os.ReadFile(filepath.Join(home, "does")); string(what) {
	case "hang":
		time.Sleep(time.Hour)
	case "flood":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("T0P ", 1<<16)); err != nil {
				return 2
			}
		}
	case "fail":
		fmt.Fprintf(os.Stderr, "[ERROR] 2026/11/23 22:00:00 (503) Service Unavailable: %s %s\n", secret, os.Getenv("OP_SERVICE_ACCOUNT_TOKEN"))
		return 1
	case "fail after a value":
		fmt.Print(secret)
		return 6
	}
	switch reference {
	case "op://Payments/Stripe live/secret key", "op://" + sms + "/" + twilio + "/api/secret":
		fmt.Print(secret)
	case "op://" + sms + "/" + twilio + "/api/account sid":
		fmt.Print("AC1")
	case "op://Payments/Stripe live/empty":
	case "op://None/Stripe live/secret key":
		fmt.Fprintf(os.Stderr, "[ERROR] 2026/11/23 22:00:00 could not read secret '%s': \"None\" isn't a vault in this account. %s\n", reference, secret)
		return 1
	case "op://Payments/None/secret key":
		fmt.Fprintf(os.Stderr, "[ERROR] 2026/11/23 22:00:00 could not read secret '%s': \"None\" isn't an item in the \"Payments\" vault. %s\n", reference, secret)
		return 1
	case "op://Payments/Stripe live/none":
		fmt.Fprintf(os.Stderr, "[ERROR] 2026/11/23 22:00:00 could not read secret '%s': item 'Payments/Stripe live' does not have a field 'none' %s\n", reference, secret)
		return 1
	default:
		fmt.Fprintf(os.Stderr, "unexpected %s\n", reference)
		return 8
	}
	return 0
}

// home is a user's home, where op does what is said.
func home(t *testing.T, does string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "does"), []byte(does), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	return dir
}

func account(t *testing.T, items map[string]onepassword.Item) credentials.Source {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return onepassword.ServiceAccount(token, items, &onepassword.AccountOptions{Program: self})
}

func TestServiceAccount(t *testing.T) {
	dir := home(t, "")
	t.Setenv("STRIPE_SECRET_KEY", "sk_of_somebody_else")
	t.Setenv("OP_SESSION_me", "a person's")
	t.Setenv("OP_CONNECT_TOKEN", "another way in")
	items := map[string]onepassword.Item{
		"stripe": item("Payments", "Stripe live", "secret key"), "twilio": item(sms, twilio, "api/account sid", "api/secret"),
		"no vault": item("None", "Stripe live", "secret key"), "no item": item("Payments", "None", "secret key"),
		"no field": item("Payments", "Stripe live", "none"), "empty": item("Payments", "Stripe live", "empty"),
	}
	s := account(t, items)
	if v := got(t, s, "twilio"); v != "AC1 "+secret {
		t.Errorf("got %q", v)
	}
	if v := got(t, s, "stripe"); v != secret {
		t.Errorf("got %q", v)
	}
	var c call
	data, err := os.ReadFile(filepath.Join(dir, "call.json"))
	if err != nil || json.Unmarshal(data, &c) != nil {
		t.Fatal(err)
	}
	if want := []string{"read", "--no-newline", "--cache=false", "op://Payments/Stripe live/secret key"}; !slices.Equal(c.Args, want) {
		t.Errorf("run with %q", c.Args)
	}
	if !slices.Contains(c.Env, "OP_SERVICE_ACCOUNT_TOKEN="+token) || os.Getenv("OP_SERVICE_ACCOUNT_TOKEN") != "" {
		t.Error("the token is not in op's environment alone")
	}
	for _, v := range c.Env {
		if name, _, _ := strings.Cut(v, "="); name == "STRIPE_SECRET_KEY" || strings.HasPrefix(name, "OP_") && name != "OP_SERVICE_ACCOUNT_TOKEN" {
			t.Errorf("op sees %s", name)
		}
	}
	for _, ref := range []string{"no vault", "no item", "no field", "empty", "no reference"} {
		if err := refused(t, s, ref); !errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "T0P") {
		t.Errorf("it prints its token: %s", text)
	}
}

func TestServiceAccountFails(t *testing.T) {
	items := map[string]onepassword.Item{"stripe": item("Payments", "Stripe live", "secret key")}
	for does, want := range map[string]string{
		"fail":               "op failed (exit status 1)",
		"fail after a value": "op failed (exit status 6)",
		"flood":              "op wrote more than 65536 bytes",
	} {
		home(t, does)
		if err := refused(t, account(t, items), "stripe"); errors.Is(err, credentials.ErrUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", does, err)
		}
	}
	none := onepassword.ServiceAccount(token, items, &onepassword.AccountOptions{Program: filepath.Join(t.TempDir(), "op")})
	if err := refused(t, none, "stripe"); errors.Is(err, credentials.ErrUnknown) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no op: %v", err)
	}
}

// A hanging op ends with the context.
func TestServiceAccountHangs(t *testing.T) {
	dir := home(t, "hang")
	s := account(t, map[string]onepassword.Item{"stripe": item("Payments", "Stripe live", "secret key")})
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("ended by the caller")
	go func() {
		for ctx.Err() == nil { // once op runs
			if _, err := os.Stat(filepath.Join(dir, "call.json")); err == nil {
				cancel(ended)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if _, err := s.Get(ctx, "stripe"); !errors.Is(err, ended) {
		t.Errorf("got %v", err)
	}
	cancel(nil)
}
