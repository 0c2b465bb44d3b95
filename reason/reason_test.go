package reason_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/keybrake/keybrake-go/reason"
)

// declared reads the exported codes of the source, so that one that is forgotten in the table is found.
func declared(t *testing.T) map[string]reason.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]reason.Code{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			s := spec.(*ast.ValueSpec)
			kind, _ := s.Type.(*ast.Ident)
			if kind == nil || kind.Name != "Code" || len(s.Names) != 1 || len(s.Values) != 1 {
				t.Fatalf("%v is not of the form Name Code = \"code\"", s.Names)
			}
			value, err := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes[s.Names[0].Name] = reason.Code(value)
		}
	}
	if len(codes) < 40 {
		t.Fatalf("found %d codes in reason.go", len(codes))
	}
	return codes
}

func TestEveryCodeIsInTheTableOnce(t *testing.T) {
	rows := map[reason.Code]int{}
	for _, e := range reason.All() {
		rows[e.Code]++
	}
	named := map[reason.Code]string{}
	for name, code := range declared(t) {
		if other, twice := named[code]; twice {
			t.Errorf("%s and %s are both %q", name, other, code)
		}
		named[code] = name
		if rows[code] != 1 {
			t.Errorf("%s (%q) has %d rows", name, code, rows[code])
		}
	}
	for code := range rows {
		if named[code] == "" {
			t.Errorf("the row of %q has no constant", code)
		}
	}
}

// Codes are carried in a marker whose fields are joined by two underscores.
func TestCodesCanBeCutOutOfAMessage(t *testing.T) {
	for _, e := range reason.All() {
		c := string(e.Code)
		if c == "" || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz_") != "" || strings.Contains(c, "__") || strings.Trim(c, "_") != c {
			t.Errorf("%q is not made of a-z, with single underscores inside", c)
		}
		if len(c) > 40 {
			t.Errorf("%q is too long for a marker", c)
		}
	}
}

func TestStatusesAreThoseOfDenials(t *testing.T) {
	for _, e := range reason.All() {
		if !slices.Contains([]int{401, 403, 429, 503}, e.Status) {
			t.Errorf("%s has status %d", e.Code, e.Status)
		}
		if strings.HasPrefix(string(e.Code), "key_") != (e.Status == 401) {
			t.Errorf("%s has status %d; 401 is for the vault key and for nothing else", e.Code, e.Status)
		}
		if spent := strings.HasPrefix(string(e.Code), "budget_") || e.Code == reason.RepeatExceeded; spent != (e.Status == 429) {
			t.Errorf("%s has status %d; 429 is for budgets and the repeat rule and for nothing else", e.Code, e.Status)
		}
	}
}

// Sentences end up in vendors' error shapes, in logs and beside a marker in brackets.
func TestSentencesAreForAPerson(t *testing.T) {
	seen := map[string]reason.Code{}
	for _, e := range reason.All() {
		s := e.Sentence
		if len(s) < 20 || len(s) > 160 || strings.ContainsAny(s, "[]\"\\<>%") || strings.HasSuffix(s, ".") ||
			strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", e.Code, s)
		}
		if other, twice := seen[s]; twice {
			t.Errorf("%s and %s say the same", e.Code, other)
		}
		seen[s] = e.Code
	}
}

func TestLookup(t *testing.T) {
	for _, e := range reason.All() {
		if got, ok := reason.Lookup(e.Code); !ok || got != e {
			t.Errorf("%s: %+v, %v", e.Code, got, ok)
		}
	}
	for _, c := range []reason.Code{"", "from_a_newer_process", "KEY_REVOKED"} {
		if got, ok := reason.Lookup(c); ok || got != (reason.Entry{Code: c, Status: 403}) {
			t.Errorf("the unknown code %q is answered with %+v, %v; it has to be a refusal still", c, got, ok)
		}
	}
}

func TestTheTableIsNotTheCallers(t *testing.T) {
	reason.All()[0] = reason.Entry{Status: 200}
	if e := reason.All()[0]; e.Status == 200 {
		t.Error("a caller has changed the table")
	}
}
