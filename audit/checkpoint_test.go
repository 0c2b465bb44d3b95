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
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

func checkpoint(t *testing.T, key ed25519.PrivateKey, records []audit.Record) []byte {
	t.Helper()
	v, err := audit.Verify(inOrder(records), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := v.Checkpoint(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestACheckpointSaysWhatWasThere(t *testing.T) {
	key, whole := writer(3), chained(t, writer(1), 5)
	text := checkpoint(t, key, whole[:4])
	c, err := audit.ParseCheckpoint(text, public(writer(9)), public(key))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]audit.Head{whole[3].Chain.Writer: {N: 4, Hash: whole[3].Chain.Hash}}
	if age := time.Since(c.Time); !reflect.DeepEqual(c.Heads, want) || age < 0 || age > time.Minute {
		t.Errorf("got %+v", c)
	}
	if bytes.Count(text, []byte("\n")) != 1 {
		t.Errorf("it is not one line: %q", text)
	}
	o := &audit.VerifyOptions{Until: c.Heads}
	if _, err := audit.Verify(inOrder(whole), o); err != nil {
		t.Errorf("the chain has gone on: %v", err)
	}
	var bad *audit.Tampered
	if _, err := audit.Verify(inOrder(whole[:3]), o); !errors.As(err, &bad) || bad.N != 4 {
		t.Errorf("the end is cut off: %v", err)
	}
}

// Whatever of a checkpoint is changed, it is refused.
func TestACheckpointThatIsNotWholeIsRefused(t *testing.T) {
	key := writer(3)
	text := string(checkpoint(t, key, chained(t, nil, 4)))
	for i := range len(text) - 1 {
		for _, b := range []byte{text[i] ^ 1, '0', ' '} {
			changed := text[:i] + string(b) + text[i+1:]
			if c, err := audit.ParseCheckpoint([]byte(changed), public(key)); err == nil && changed != text && !same(changed, text) {
				t.Errorf("%s passes: %+v", changed, c)
			}
		}
	}
	other := strings.Replace(text, `"v":1`, `"v":1,"more":1`, 1)
	for name, tt := range map[string]struct {
		text string
		key  ed25519.PublicKey
	}{
		"another key":           {text, public(writer(4))},
		"half a key":            {text, public(key)[:16]},
		"a field more":          {other, public(key)},
		"something behind it":   {text + text, public(key)},
		"another version":       {strings.Replace(text, `"v":1`, `"v":2`, 1), public(key)},
		"no signature":          {text[:strings.Index(text, `,"sign"`)] + "}\n", public(key)},
		"nothing":               {"", public(key)},
		"a record's signature":  {string(resigned(text, key, "keybrake audit v1\x00")), public(key)},
		"a signature of a hash": {string(resigned(text, key, "")), public(key)},
	} {
		if c, err := audit.ParseCheckpoint([]byte(tt.text), tt.key); err == nil {
			t.Errorf("%s passes: %+v", name, c)
		}
	}
	if c, err := audit.ParseCheckpoint([]byte(text)); err == nil {
		t.Errorf("no key at all passes: %+v", c)
	}
	if _, err := (audit.Verified{}).Checkpoint(key[:32]); err == nil {
		t.Error("half a key signs")
	}
}

// same says whether two spellings say the same: a space outside of a string changes nothing.
func same(a, b string) bool {
	return strings.Join(strings.Fields(a), "") == strings.Join(strings.Fields(b), "")
}

// resigned is text with a signature of what else the key may have signed.
func resigned(text string, key ed25519.PrivateKey, label string) []byte {
	body := text[:strings.Index(text, `,"sign"`)] + "}"
	if label == "" {
		body = fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	}
	sign := base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(label+body)))
	return []byte(text[:strings.Index(text, `,"sign"`)] + `,"sign":"` + sign + "\"}\n")
}

// What a head was kept of has to be there: not said to be lost, and not another where older records were put away.
func TestWhatWasKeptIsNotLostLater(t *testing.T) {
	whole := chained(t, nil, 6)
	name := whole[0].Chain.Writer
	kept := map[string]audit.Head{name: {N: 3, Hash: whole[2].Chain.Hash}}
	// Without a key he makes all links anew, and says that the sink did not take the third.
	var forged []audit.Record
	prev := ""
	for _, r := range whole {
		lost := int64(0)
		switch r.Chain.N {
		case 3:
			continue
		case 4:
			lost = 1
		}
		r.Chain = &audit.Link{Writer: name, N: r.Chain.N, Lost: lost, Prev: prev}
		r = hashed(t, r)
		prev = r.Chain.Hash
		forged = append(forged, r)
	}
	if _, err := audit.Verify(inOrder(forged), nil); err != nil {
		t.Fatal(err)
	}
	var bad *audit.Tampered
	if _, err := audit.Verify(inOrder(forged), &audit.VerifyOptions{Until: kept}); !errors.As(err, &bad) || bad.N != 3 || !strings.Contains(bad.Why, "removed") {
		t.Errorf("got %v", err)
	}
	from := map[string]audit.Head{name: {N: 3, Hash: "another"}}
	if _, err := audit.Verify(inOrder(nil), &audit.VerifyOptions{From: from, Until: kept}); !errors.As(err, &bad) || bad.N != 3 {
		t.Errorf("it goes on from another head: %v", err)
	}
	if _, err := audit.Verify(inOrder(whole[3:]), &audit.VerifyOptions{From: kept, Until: kept}); err != nil {
		t.Errorf("it goes on from that head: %v", err)
	}
}

// hashed is r with the hash of its line.
func hashed(t *testing.T, r audit.Record) audit.Record {
	t.Helper()
	var line bytes.Buffer
	if err := audit.JSON(&line).Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Chain.Hash = fmt.Sprintf("%x", sha256.Sum256(line.Bytes()))
	return r
}

// lines are the first n lines of a chain that is the same each time.
func lines(n int) io.Reader {
	all.Do(func() {
		sink := audit.Chain(audit.JSON(&chain), nil)
		for _, id := range []string{"rec_1", "rec_2", "rec_3"} {
			_ = sink.Write(context.Background(), audit.Record{Version: 1, ID: id, Kind: audit.Denied})
		}
	})
	return strings.NewReader(strings.Join(strings.SplitAfter(chain.String(), "\n")[:n], ""))
}

var (
	all   sync.Once
	chain bytes.Buffer
)

// Last week's checkpoint shows that records were cut off since.
func ExampleVerified_Checkpoint() {
	public, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	whole, cut := lines(3), lines(2)

	verified, err := audit.Verify(audit.Read(whole), nil)
	if err != nil {
		fmt.Println(err)
	}
	text, err := verified.Checkpoint(signing) // keep it anywhere
	if err != nil {
		fmt.Println(err)
	}

	last, err := audit.ParseCheckpoint(text, public)
	if err != nil {
		fmt.Println(err)
	}
	_, err = audit.Verify(audit.Read(cut), &audit.VerifyOptions{Until: last.Heads})
	var bad *audit.Tampered
	if errors.As(err, &bad) {
		fmt.Println(bad.Why)
	}
	// Output: removed: the chain ends at 2 and went to 3
}

// What is taken for a checkpoint says what was signed, however it is spelt.
func FuzzParseCheckpoint(f *testing.F) {
	key := writer(3)
	signed := map[string]audit.Head{"w1": {N: 4, Hash: "aa"}}
	text, err := audit.Verified{Heads: signed}.Checkpoint(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(strings.Replace(string(text), `"w1"`, `"w1":{"n":1},"w1"`, 1))
	f.Add(strings.Replace(string(text), `"heads"`, `"heads":{"w2":{"n":1,"hash":"bb"}},"heads"`, 1))
	f.Add(strings.Replace(string(text), `"sign"`, `"heads":{},"sign"`, 1))
	f.Add(`{"v":1,"sign":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := audit.ParseCheckpoint([]byte(text), public(key)); err == nil && !reflect.DeepEqual(c.Heads, signed) {
			t.Errorf("%q says %+v", text, c)
		}
	})
}
