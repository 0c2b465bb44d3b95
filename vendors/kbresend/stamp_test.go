package kbresend_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

func stamped(t *testing.T, path, body, run, mark string) (string, any) {
	t.Helper()
	c := identified(t, path, body)
	before := fmt.Sprint(c.JSON)
	form, tree := c.Operation.Stamp(c, run, mark)
	if form != nil || fmt.Sprint(c.JSON) != before {
		t.Errorf("a mail has no form (%v), and the call is as it was: %s", form, c.JSON)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), tree
}

// The two tags come after the agent's, in every mail, and nothing else changes: neither order, nor numbers, nor text.
func TestStamp(t *testing.T) {
	const ours = `{"name":"keybrake_run","value":"run_42"},{"name":"keybrake_call","value":"r7q3"}`
	for _, tt := range [][3]string{
		{"/emails", `{"from":"a@b.c","to":"d@e.f","subject":"s"}`, `{"from":"a@b.c","to":"d@e.f","subject":"s","tags":[` + ours + `]}`},
		{"/emails", `{"tags":[{"name":"category","value":"x"}],"to":["d@e.f"]}`, `{"tags":[{"name":"category","value":"x"},` + ours + `],"to":["d@e.f"]}`},
		{"/emails", `{"to":"d@e.f","tags":null,"template":{"id":"t","variables":{"n":1.50,"big":12345678901234567890}}}`,
			`{"to":"d@e.f","tags":[` + ours + `],"template":{"id":"t","variables":{"n":1.50,"big":12345678901234567890}}}`},
		{"/emails", `{"to":"d@e.f","attachments":[{"content":[1,2,255],"filename":"é.txt"}],"headers":{}}`,
			`{"to":"d@e.f","attachments":[{"content":[1,2,255],"filename":"é.txt"}],"headers":{},"tags":[` + ours + `]}`},
		{"/emails/batch", `[{"to":"a@b.c"},{"to":"d@e.f","tags":[]}]`, `[{"to":"a@b.c","tags":[` + ours + `]},{"to":"d@e.f","tags":[` + ours + `]}]`},
	} {
		got, tree := stamped(t, tt[0], tt[1], "run_42", "r7q3")
		if got != tt[2] {
			t.Errorf("%s:\n got %s\nwant %s", tt[1], got, tt[2])
		}
		again, err := vendors.DecodeJSON([]byte(got))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(tree) {
			t.Errorf("%s is read as another: %v", got, err)
		}
	}
	// Strings that encoding/json escapes are the same strings.
	got, _ := stamped(t, "/emails", `{"to":"d@e.f","html":"<b>\u2028\"&\\"}`, "r", "m")
	tree, err := vendors.DecodeJSON([]byte(got))
	if html, _ := vendors.Member(tree, "html"); err != nil || html != "<b>\u2028\"&\\" {
		t.Errorf("%q, %v", html, err)
	}
}

// A call that cannot carry the marks in every mail carries none.
func TestStampAllOrNothing(t *testing.T) {
	tags := func(n int) string {
		return `[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","value":"b"},`, n), ",") + `]`
	}
	numbers := strings.TrimSuffix(strings.Repeat("7,", 25_000), ",")
	for _, tt := range []struct{ path, body, run string }{
		{"/emails", `{"to":"d@e.f","tags":` + tags(74) + `}`, run},
		{"/emails/batch", `[{"to":"d@e.f"},{"to":"d@e.f","tags":` + tags(74) + `}]`, run},
		{"/emails", `{"to":"d@e.f","tags":"x"}`, run},
		{"/emails", `{"to":"d@e.f","tags":{"a":"b"}}`, run},
		{"/emails", `{"to":"d@e.f","attachments":[{"content":[` + numbers + `]}]}`, run}, // not all of which is in the tree
		{"/emails", `{"to":"d@e.f"}`, strings.Repeat(":", 64)},
		{"/emails", `{"to":"d@e.f"}`, ""},
	} {
		if got, _ := stamped(t, tt.path, tt.body, tt.run, "m"); got != "null" {
			t.Errorf("%.60s: %.200s", tt.body, got)
		}
	}
	if got, _ := stamped(t, "/emails", `{"to":"d@e.f","tags":`+tags(73)+`}`, run, "m"); got == "null" {
		t.Error("75 tags are one too many")
	}
}

// Names of runs have characters that tags cannot: each is written so that Resend takes it, and no two alike.
func TestTagValues(t *testing.T) {
	seen := map[string]string{}
	plain := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	const alphabet = ":.x2_a"
	var names []string
	var grow func(string)
	grow = func(s string) {
		if s != "" {
			names = append(names, s)
		}
		if len(s) < 6 {
			for i := range len(alphabet) {
				grow(s + alphabet[i:i+1])
			}
		}
	}
	grow("")
	names = append(names, "_x3a_", "a:b", "_x3a:", "__x3a_", "_x3a_x3a_", ":x3a_", "_x3a__x3a_", "_x5f_x3a_")
	for _, name := range names {
		got := kbresend.TagValue(name)
		if other, twice := seen[got]; !plain.MatchString(got) || twice && other != name {
			t.Fatalf("%q is written %q, as is %q", name, got, other)
		}
		seen[got] = name
	}
	for name, want := range map[string]string{"run_42": "run_42", "run:7": "run_x3a_7", "a.b-c": "a_x2e_b-c", "a_x2e_b": "a_x5f_x2e_b"} {
		if got := kbresend.TagValue(name); got != want {
			t.Errorf("%q is written %q, want %q", name, got, want)
		}
	}
}

// An agent cannot set the tags by which its calls are known again.
func TestAgentsTags(t *testing.T) {
	vendor := kbresend.New(nil)
	for body, ok := range map[string]bool{
		`{"to":"d@e.f","tags":[{"name":"category","value":"keybrake_call"}]}`:               true,
		`{"to":"d@e.f","subject":"keybrake_call"}`:                                          true,
		`{"to":"d@e.f","tags":[{"name":"keybrake","value":"x"}]}`:                           true,
		`{"to":"d@e.f","tags":[{"name":"keybrake_call","value":"x"}]}`:                      false,
		`{"to":"d@e.f","tags":[{"name":"a","value":"b"},{"name":"keybrake_","value":"x"}]}`: false,
		`{"to":"d@e.f","tags":[{"name":"Keybrake_Run","value":"x"}]}`:                       false,
		`{"to":"d@e.f","tags":[{"name":" keybrake_run","value":"x"}]}`:                      false,
		`{"to":"d@e.f","tags":[{"name":["keybrake_run"],"value":"x"}]}`:                     false,
		`{"to":"d@e.f","tags":[{"Name":"keybrake_run","value":"x"}]}`:                       false,
		`{"to":"d@e.f","tags":{"keybrake_call":"x"}}`:                                       false,
		`{"to":"d@e.f","tags":["keybrake_call"]}`:                                           false,
		`{"to":"d@e.f","tags":"keybrake_call"}`:                                             false,
	} {
		for path, body := range map[string]string{"/emails": body, "/emails/batch": "[" + `{"to":"a@b.c"},` + body + "]"} {
			err := vendor.Check(identified(t, path, body))
			var r *vendors.Refusal
			if ok != (err == nil) || !ok && (!errors.As(err, &r) || r.Code != reason.ParamInvalid || r.Param != "tags[name]") {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
}

// What the SDK sends, every field of it set, goes through with marks.
func TestSDKsMailIsStamped(t *testing.T) {
	c, r := sdk(t, ok)
	m := filled()
	for i := range m.Tags {
		m.Tags[i].Name, m.Tags[i].Value = "category", "welcome"
	}
	if _, err := c.Emails.Send(m); err != nil || r.errs[0] != nil {
		t.Fatal(err, r.errs)
	}
	got := r.calls[0]
	if err := kbresend.New(nil).Check(got); err != nil {
		t.Error(err)
	}
	_, tree := got.Operation.Stamp(got, run, mark)
	tags, _ := vendors.Member(tree, "tags")
	if list, _ := tags.([]any); len(list) != 4 {
		t.Errorf("%v", tags)
	}
	if unknown, _ := got.Unlisted(got.Operation.Params); unknown != nil {
		t.Errorf("unknown: %v", unknown)
	}
}
