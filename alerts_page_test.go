package keybrake_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
)

func alertsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// What docs/alerts.md shows of Go is what compiles and runs, line by line.
func TestAlertsPageShowsWhatRuns(t *testing.T) {
	example, err := os.ReadFile("notify_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(alertsPage(t), -1)
	if len(blocks) != 2 {
		t.Errorf("the page has %d blocks of Go", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(spaced(string(example)), strings.TrimSpace(spaced(b[1]))) {
			t.Errorf("the page shows what does not run:\n%s", b[1])
		}
	}
}

// The event that the page shows is one: all of its fields are known, stand in their order, and its text is what the brake
// would write.
func TestAlertsPageShowsAnEvent(t *testing.T) {
	shown := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(alertsPage(t))
	if shown == nil {
		t.Fatal("no event is shown")
	}
	d := json.NewDecoder(strings.NewReader(shown[1]))
	d.DisallowUnknownFields()
	var e audit.Event
	if err := d.Decode(&e); err != nil {
		t.Fatal(err)
	}
	again := &bytes.Buffer{}
	to := json.NewEncoder(again)
	to.SetIndent("", "  ")
	if err := to.Encode(e); err != nil || again.String() != shown[1] {
		t.Errorf("the page shows\n%swhich would be told as\n%s%v", shown[1], again, err)
	}
	if want := keybrake.Sentence(e); e.Text != want {
		t.Errorf("the page says %q, the brake %q", e.Text, want)
	}
}

// Every kind of event has a row, and every row is one.
func TestAlertsPageHasEveryKind(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "audit/notify.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil {
			if name, ok := v.Type.(*ast.Ident); ok && name.Name == "EventKind" {
				text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				kinds[text] = true
			}
		}
		return true
	})
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(alertsPage(t), -1)
	for _, r := range rows {
		if !kinds[r[1]] {
			t.Errorf("%s is no kind, or stands twice", r[1])
		}
		delete(kinds, r[1])
	}
	if len(rows) != 6 || len(kinds) != 0 {
		t.Errorf("%d rows; without one are %v", len(rows), kinds)
	}
}

// The receiver that the page shows takes what an alerter sends, once, and nothing of anybody else.
func TestAlertsPageRuns(t *testing.T) {
	const secret = "whsec_a2V5YnJha2UgdGVzdCBzZWNyZXQgb2YgMzIgYnl0ZXMh"
	var told []audit.Event
	server := httptest.NewServer(receiving(secret, func(e audit.Event) { told = append(told, e) }))
	defer server.Close()
	w := newWorld(t, nil)
	raise(t, w, 2)
	hook, err := audit.Webhook(server.URL, secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := alerter(t, w.Brake, hook, nil).Pass(t.Context())
	if err != nil || d.Told != 2 || len(told) != 2 || told[0].ID == told[1].ID {
		t.Fatalf("%+v, %v: %+v", d, err, told)
	}
	if err := hook.Notify(t.Context(), told[0]); err != nil || len(told) != 2 {
		t.Errorf("again: %v, %d are told", err, len(told))
	}
	other, err := audit.Webhook(server.URL, "whsec_"+strings.Repeat("AAAA", 8), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Notify(t.Context(), audit.Event{ID: "ev_forged"}); err == nil || len(told) != 2 {
		t.Errorf("of somebody else: %v, %d are told", err, len(told))
	}
}
