package redisledger

import (
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
)

// FuzzStored reads arbitrary hashes of Redis as a reservation. One that does not fit itself is an error; one that is read has
// amounts that a ledger can have, one for each of its budgets, which are written again as they were read.
func FuzzStored(f *testing.F) {
	const good = `{"op":"a.b","b":[{"m":"fee","w":"day","l":"7"}]}`
	f.Add("in_flight", "5", good, "1 2 3 0 0 0;", `["f:key:k"]`, "", "")
	f.Add("settled", "-5", good, "1 2 -3 0 0 0;", "", "x", "0 {}")
	f.Add("", "", "", "", "", "", "")
	f.Add("in_flight", "5", good, "1 2 9007199254740992 0 0 0;", "", "9", "")
	f.Add("pending", "5", `{"op":"a.b"}`, "", "[null]", "", "1772323200000000 {\"id\":\"a\",\"actual\":[],\"deltas\":[1]}\n")
	f.Add("pending", "5", `{"op":"a.b","b":[null,{}]}`, "1 2 3 4 5 6;1 2 3 4 5 6;", "{}", "", "\n\n")
	f.Add("in_doubt", "99999999999999999999", good, "1 2 3 0 0 0;x", "", "nan", "1 {")
	f.Fuzz(func(t *testing.T, phase, deadline, fixed, amounts, controls, retry, adjusted string) {
		m := map[string]string{"p": phase, "n": "n", "d": deadline, "v": "1", "f": fixed, "e": amounts, "cs": controls, "ru": retry, "adj": adjusted}
		r, err := unpack("t", "id", m)
		if err != nil {
			if r.ID != "" || r.Entries != nil {
				t.Fatalf("an error came with %+v", r)
			}
			return
		}
		if fixed == "" {
			if len(r.Entries) > 0 {
				t.Fatalf("a tombstone has %+v", r.Entries)
			}
			return
		}
		if len(r.Entries) != len(r.parts) || len(r.parts) != strings.Count(amounts, ";") {
			t.Fatalf("%q is read as %+v", amounts, r.Entries)
		}
		for _, p := range r.parts {
			for _, n := range []int64{p.Held, p.Booked} {
				if n < 0 || n > cost.Max {
					t.Fatalf("%q is read as %+v", amounts, r.Entries)
				}
			}
		}
		again := map[string]string{"p": phase, "d": deadline, "f": fixed, "e": pack(r.parts)}
		second, err := unpack("t", "id", again)
		if err != nil || pack(second.parts) != again["e"] {
			t.Fatalf("%q is written as %q and read as %+v, %v", amounts, again["e"], second.Entries, err)
		}
	})
}

// FuzzReply reads arbitrary answers of a script. None panics, and what is too short or no number is an error.
func FuzzReply(f *testing.F) {
	f.Add("ok 1 0 0")
	f.Add("ok 1 1 2 3 4 5 6 7 0")
	f.Add("ok 1 9223372036854775807")
	f.Add("ok 1 -1 nan")
	f.Add("short 1 1 2 3 4 5 6 7 8")
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, " ")
		list := make([]any, len(words))
		for i, w := range words {
			list[i] = w
		}
		got, err := decode(list, nil)
		if err != nil {
			return
		}
		n := len(got.rest)
		at := got.windows()
		if got.err() == nil && (len(at) > n || len(got.rest) > n-1) {
			t.Fatalf("%q holds %d windows", text, len(at))
		}
	})
}
