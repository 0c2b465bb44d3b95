package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

// writer is a key that is the same in every run.
func writer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// chained are n records of one writer, as a reader finds them.
func chained(t *testing.T, key ed25519.PrivateKey, n int) []audit.Record {
	t.Helper()
	var text bytes.Buffer
	s := audit.Chain(audit.JSON(&text), key)
	for i := range n {
		r := audittest.Full()
		r.ID = fmt.Sprintf("rec_%d", i)
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return readAll(t, &text)
}

func readAll(t *testing.T, from io.Reader) (records []audit.Record) {
	t.Helper()
	for r, err := range audit.Read(from) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func inOrder(records []audit.Record) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestVerifyFindsWhatWasWrittenWhole(t *testing.T) {
	for name, key := range map[string]ed25519.PrivateKey{"signed": writer(1), "not signed": nil} {
		var text bytes.Buffer
		lines := audit.JSON(&text)
		writers := []audit.Sink{audit.Chain(lines, key), audit.Chain(lines, key), audit.Chain(lines, key)}
		var wg sync.WaitGroup
		for i := range 90 {
			wg.Go(func() {
				r := audittest.Full()
				r.ID = fmt.Sprint(i)
				if err := writers[i%3].Write(context.Background(), r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		o := &audit.VerifyOptions{}
		if key != nil {
			o.Keys = []ed25519.PublicKey{public(writer(2)), public(key)}
		}
		v, err := audit.Verify(audit.Read(bytes.NewReader(text.Bytes())), o)
		if err != nil || v.Records != 90 || len(v.Heads) != 3 {
			t.Fatalf("%s: %+v, %v", name, v, err)
		}
		for w, h := range v.Heads {
			if h.N != 30 {
				t.Errorf("%s: writer %s ends at %d", name, w, h.N)
			}
		}
		// What was verified and put away is where the rest goes on from, and may not get shorter again.
		all := readAll(t, &text)
		first, err := audit.Verify(inOrder(all[:40]), o)
		if err != nil {
			t.Fatal(err)
		}
		rest := *o
		rest.From, rest.Until = maps.Clone(first.Heads), v.Heads
		if got, err := audit.Verify(inOrder(all[40:]), &rest); err != nil || got.Records != 50 {
			t.Errorf("%s: the second part: %+v, %v", name, got, err)
		}
	}
}

func TestVerifyNamesTheFirstBadRecord(t *testing.T) {
	key, other := writer(1), writer(2)
	whole := chained(t, key, 6)
	heads := map[string]audit.Head{whole[5].Chain.Writer: {N: 6, Hash: whole[5].Chain.Hash}}
	stranger, unsigned, theirs := chained(t, key, 2)[1], chained(t, nil, 1)[0], chained(t, other, 1)[0]
	loose := audittest.Full()
	loose.Chain = nil
	change := func(i int, how func(r *audit.Record)) []audit.Record {
		list := slices.Clone(whole)
		r := list[i]
		link := *r.Chain
		r.Chain = &link
		how(&r)
		list[i] = r
		return list
	}
	for name, tt := range map[string]struct {
		records []audit.Record
		index   int64
		n       int64
		why     string
	}{
		"a field is changed":              {change(2, func(r *audit.Record) { r.Status = 200 }), 2, 3, "changed"},
		"an amount is changed":            {change(0, func(r *audit.Record) { r.Actual = slices.Clone(r.Actual); r.Actual[0].Amount++ }), 0, 1, "changed"},
		"a time is changed":               {change(5, func(r *audit.Record) { r.Time = r.Time.Add(1) }), 5, 6, "changed"},
		"a number is changed":             {change(3, func(r *audit.Record) { r.Chain.N = 7 }), 3, 7, "changed"},
		"a hash is changed":               {change(3, func(r *audit.Record) { r.Chain.Hash = r.Chain.Prev }), 3, 4, "changed"},
		"losses are made up":              {change(3, func(r *audit.Record) { r.Chain.Lost = 1 }), 3, 4, "changed"},
		"a signature is taken off":        {change(3, func(r *audit.Record) { r.Chain.Sign = "" }), 3, 4, "signed"},
		"a signature is another's":        {change(3, func(r *audit.Record) { r.Chain.Sign = whole[2].Chain.Sign }), 3, 4, "signed"},
		"a link is taken off":             {change(4, func(r *audit.Record) { r.Chain = nil }), 4, 0, "inserted"},
		"the first is removed":            {whole[1:], 0, 1, "removed: numbers 1 to 1"},
		"one is removed":                  {slices.Delete(slices.Clone(whole), 2, 3), 2, 3, "removed: numbers 3 to 3"},
		"two are removed":                 {slices.Delete(slices.Clone(whole), 1, 3), 1, 2, "removed: numbers 2 to 3"},
		"the last is removed":             {whole[:5], 5, 6, "removed: the chain ends at 5 and went to 6"},
		"all are removed":                 {nil, 0, 1, "removed"},
		"two change places":               {[]audit.Record{whole[0], whole[2], whole[1], whole[3], whole[4], whole[5]}, 1, 2, "removed"},
		"one is said to be another":       {slices.Insert(slices.Clone(whole), 4, again(whole[1], key)), 4, 2, "put elsewhere"},
		"one without a link is put in":    {slices.Insert(slices.Clone(whole), 2, loose), 2, 0, "inserted"},
		"one of another writer is put in": {slices.Insert(slices.Clone(whole), 2, stranger), 2, 1, "removed"},
		"one without a signature":         {slices.Insert(slices.Clone(whole), 2, unsigned), 2, 1, "signed"},
		"one that another key signed":     {slices.Insert(slices.Clone(whole), 2, theirs), 2, 1, "signed"},
	} {
		_, err := audit.Verify(inOrder(tt.records), &audit.VerifyOptions{Keys: []ed25519.PublicKey{public(key)}, Until: heads})
		var bad *audit.Tampered
		if !errors.As(err, &bad) || bad.Index != tt.index || bad.N != tt.n || !strings.Contains(bad.Why, tt.why) {
			t.Errorf("%s: got %+v, %v", name, bad, err)
		}
	}
}

// again is another record of the same writer and number, as who has the key can make one.
func again(r audit.Record, key ed25519.PrivateKey) audit.Record {
	r.Detail = "nothing happened"
	r.Chain = &audit.Link{Writer: r.Chain.Writer, N: r.Chain.N, Prev: r.Chain.Prev}
	var line bytes.Buffer
	_ = audit.JSON(&line).Write(context.Background(), r)
	r.Chain.Hash = fmt.Sprintf("%x", sha256.Sum256(line.Bytes()))
	r.Chain.Sign = base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte("keybrake audit v1\x00"+r.Chain.Hash)))
	return r
}

// What a sink has kept twice, one record or a batch, is no tampering. What was taken from longer ago and put in again is.
func TestVerifyKnowsWhatStandsTwice(t *testing.T) {
	whole := chained(t, nil, 1100)
	twice := slices.Concat(whole[:20], whole[19:20], whole[7:25], whole[:30], whole[25:])
	v, err := audit.Verify(inOrder(twice), nil)
	if err != nil || v.Heads[whole[0].Chain.Writer].N != 1100 {
		t.Errorf("%+v, %v", v, err)
	}
	for at, ok := range map[int]bool{75: false, 76: true} {
		_, err := audit.Verify(inOrder(append(slices.Clone(whole), whole[at])), nil)
		if (err == nil) != ok {
			t.Errorf("record %d of 1100 once more: %v", at+1, err)
		}
	}
}

// Without a key somebody who makes all links anew is found by a head that was kept elsewhere, and by nothing else.
func TestVerifyFindsAChainThatWasMadeAnew(t *testing.T) {
	whole := chained(t, nil, 3)
	var text bytes.Buffer
	forger := audit.Chain(audit.JSON(&text), nil)
	for _, r := range whole {
		r.Detail = "nothing happened"
		if err := forger.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	name := whole[0].Chain.Writer
	kept := map[string]audit.Head{name: {N: 3, Hash: whole[2].Chain.Hash}}
	forged := readAll(t, &text)
	if _, err := audit.Verify(inOrder(forged), nil); err != nil {
		t.Fatal(err)
	}
	var bad *audit.Tampered
	if _, err := audit.Verify(inOrder(forged), &audit.VerifyOptions{Until: kept}); !errors.As(err, &bad) || bad.Writer != name {
		t.Errorf("got %v", err)
	}
	head := map[string]audit.Head{name: {N: 3, Hash: "another"}}
	if _, err := audit.Verify(inOrder(whole), &audit.VerifyOptions{Until: head}); !errors.As(err, &bad) || bad.N != 3 {
		t.Errorf("another head of that number: %v", err)
	}
}

// A record that the sink did not take uses up its number. It may be there all the same, and what is removed beside it shows.
func TestWhatASinkDidNotTakeIsNoTampering(t *testing.T) {
	var text bytes.Buffer
	lines := audit.JSON(&text)
	fails := map[string]string{"1": "drops", "2": "drops", "4": "keeps", "5": "drops", "7": "keeps"}
	s := audit.Chain(sinkFunc(func(ctx context.Context, r audit.Record) error {
		switch fails[r.ID] {
		case "drops":
			return io.ErrClosedPipe
		case "keeps":
			return errors.Join(lines.Write(ctx, r), io.ErrUnexpectedEOF)
		}
		return lines.Write(ctx, r)
	}), writer(1))
	for i := range 10 {
		r := audittest.Full()
		r.ID = fmt.Sprint(i)
		if err := s.Write(t.Context(), r); (err != nil) != (fails[r.ID] != "") {
			t.Fatal(err)
		}
	}
	records := readAll(t, &text)
	o := &audit.VerifyOptions{Keys: []ed25519.PublicKey{public(writer(1))}}
	if v, err := audit.Verify(inOrder(records), o); err != nil || v.Records != 7 {
		t.Errorf("%+v, %v", v, err)
	}
	for i, r := range records {
		_, err := audit.Verify(inOrder(slices.Delete(slices.Clone(records), i, i+1)), o)
		mayLack := fails[r.ID] == "keeps" || i == len(records)-1
		if (err == nil) != mayLack {
			t.Errorf("without record %s: %v", r.ID, err)
		}
	}
}

func TestVerifyStopsAtWhatCannotBeRead(t *testing.T) {
	text := bytes.NewBufferString("{\"v\":1}\nnonsense\n")
	if _, err := audit.Verify(audit.Read(text), nil); err == nil {
		t.Error("what has no link passes")
	}
	broken := func(yield func(audit.Record, error) bool) { yield(audit.Record{}, io.ErrClosedPipe) }
	if _, err := audit.Verify(broken, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestChainOfWhatDoesNotWork(t *testing.T) {
	audittest.RunBroken(t, func() audit.Sink { return audit.Chain(audit.JSON(nil), nil) })
	if err := audit.Check(t.Context(), audit.Chain(audit.JSON(io.Discard), make(ed25519.PrivateKey, 32))); err == nil {
		t.Error("half a key passes")
	}
	if err := audit.Check(t.Context(), audit.Chain(audit.JSON(nil), nil)); err == nil {
		t.Error("a sink without a writer passes")
	}
	key := writer(1)
	text := fmt.Sprintf("%+v %#v %v", audit.Chain(audit.JSON(io.Discard), key), audit.Chain(audit.JSON(io.Discard), key), audit.Chain(nil, key))
	if strings.Contains(text, fmt.Sprint([]byte(key.Seed())[:8])[1:17]) {
		t.Errorf("a chain prints its key: %s", text)
	}
}

// Who changes a record of a chain without signatures and puts its hash right breaks the link behind it.
func TestVerifyFindsAChangeWhoseHashWasPutRight(t *testing.T) {
	whole := chained(t, nil, 4)
	changed := whole[1]
	changed.Detail = "nothing happened"
	changed.Chain = &audit.Link{Writer: changed.Chain.Writer, N: changed.Chain.N, Prev: changed.Chain.Prev}
	var line bytes.Buffer
	if err := audit.JSON(&line).Write(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	changed.Chain.Hash = fmt.Sprintf("%x", sha256.Sum256(line.Bytes()))
	whole[1] = changed
	var bad *audit.Tampered
	if _, err := audit.Verify(inOrder(whole), nil); !errors.As(err, &bad) || bad.Index != 2 || bad.N != 3 || !strings.Contains(bad.Why, "follow") {
		t.Errorf("got %v", err)
	}
}

// A line that says the same to Read and something else to others was changed.
func TestVerifyFindsALineThatWasWrittenAnew(t *testing.T) {
	var b bytes.Buffer
	if err := audit.Chain(audit.JSON(&b), writer(1)).Write(t.Context(), audit.Record{Version: 1, ID: "rec_1", Kind: audit.Outcome, Outcome: audit.OutcomeExecuted}); err != nil {
		t.Fatal(err)
	}
	o := &audit.VerifyOptions{Keys: []ed25519.PublicKey{public(writer(1))}}
	for name, field := range map[string]string{
		"as it was":        `"outcome":"executed"`,
		"a field twice":    `"outcome":"not_executed","outcome":"executed"`,
		"in other letters": `"outcome":"not_executed","Outcome":"executed"`,
		"another field":    `"outcome":"executed","paid":"no"`,
		"a blank":          `"outcome": "executed"`,
		"an escape":        `"outcome":"\u0065xecuted"`,
	} {
		line := strings.Replace(b.String(), `"outcome":"executed"`, field, 1)
		var bad *audit.Tampered
		_, err := audit.Verify(audit.Read(strings.NewReader(line)), o)
		if found := errors.As(err, &bad); found != (line != b.String()) || !found && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where a chain goes on from may stand in a database that a forger writes.
func TestVerifyRefusesAHeadThatNoChainHas(t *testing.T) {
	r := audit.Record{Version: 1, ID: "rec_1", Kind: audit.Denied, Chain: &audit.Link{Writer: "w1", N: -4, Prev: "aa"}}
	var bad *audit.Tampered
	if _, err := audit.Verify(inOrder([]audit.Record{hashed(t, r)}), &audit.VerifyOptions{From: map[string]audit.Head{"w1": {N: -5, Hash: "aa"}}}); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
}
