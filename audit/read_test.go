package audit_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

func written(t *testing.T, records ...audit.Record) string {
	t.Helper()
	var b bytes.Buffer
	s := audit.JSON(&b)
	for _, r := range records {
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func named(id string) audit.Record { return audit.Record{Version: 1, ID: id} }

func TestReadGivesBackWhatJSONHasWritten(t *testing.T) {
	want := []audit.Record{
		{
			Version: 1, ID: "e1", Time: time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC), Kind: audit.Outcome, CallID: "r1", Credential: "stripe",
			Run: "a\nrun\u202e", Labels: []string{"x"}, Actual: []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: cost.Max}}, Duration: time.Second,
		},
		{Version: 1, ID: "e2", Kind: audit.Control, Detail: strings.Repeat("a long word ", 10_000)}, // longer than a buffer
	}
	var got []audit.Record
	for r, err := range audit.Read(iotest.OneByteReader(strings.NewReader(written(t, want...)))) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

func TestReadNamesTheLinesThatAreNoRecords(t *testing.T) {
	whole := written(t, named("e9"))
	for name, bad := range map[string]string{
		"cut":                whole[:20],
		"cut and gone on":    whole[:20] + strings.TrimSpace(whole),
		"null":               "null",
		"of another version": `{"v":2,"id":"e9"}`,
		"no version":         `{"id":"e9"}`,
		"too long":           `{"v":1,"id":"e9","detail":"` + strings.Repeat("x", 1<<20) + `"}`,
		"not JSON":           "panic: out of memory",
	} {
		t.Run(name, func(t *testing.T) {
			for place, text := range map[string]string{
				"amid":    written(t, named("e1")) + "\n" + bad + "\n" + written(t, named("e2")),
				"at last": written(t, named("e1")) + "\n" + strings.TrimSuffix(written(t, named("e2")), "\n") + "\n" + bad,
			} {
				number := map[string]string{"amid": "line 3:", "at last": "line 4:"}[place]
				var ids, errs []string
				for r, err := range audit.Read(strings.NewReader(text)) {
					if err != nil {
						errs = append(errs, err.Error())
						if !reflect.ValueOf(r).IsZero() {
							t.Errorf("%s: with an error comes %+v", place, r)
						}
						continue
					}
					ids = append(ids, r.ID)
				}
				if strings.Join(ids, " ") != "e1 e2" || len(errs) != 1 || !strings.Contains(errs[0], number) {
					t.Errorf("%s: read %q and %q, want e1, e2 and an error about %s", place, ids, errs, number)
				}
			}
		})
	}
}

func TestReadEndsWithItsReader(t *testing.T) {
	broken := errors.New("the disk is gone")
	var errs []error
	n := 0
	for _, err := range audit.Read(io.MultiReader(strings.NewReader(written(t, named("e1"))), iotest.ErrReader(broken))) {
		if n++; err != nil {
			errs = append(errs, err)
		}
	}
	if n != 2 || len(errs) != 1 || !errors.Is(errs[0], broken) {
		t.Errorf("%d were read, with %v", n, errs)
	}
	for range audit.Read(strings.NewReader(written(t, named("e1"), named("e2")))) {
		break // must not panic
	}
}
