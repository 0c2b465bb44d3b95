package keybrake

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A trace is what is kept of a call with its reservation: what a retry must send and settle by, and what it takes to
// find the call at the vendor again. The ledger holds it sealed under the real credential, so that whoever reads the
// ledger learns nothing from it, and whoever writes there cannot choose what a retry sends or what a call has cost.
// After a rotation of the credential nobody can open it: a retry is refused, and a person has to reconcile.
type trace struct {
	Kind   vendors.Kind    `json:"kind"`
	Lines  []cost.Line     `json:"lines"` // as the row gave them, or the ceiling
	Rates  []cost.Rate     `json:"rates,omitempty"`
	Send   []vendors.Param `json:"send,omitempty"`
	Object string          `json:"object,omitempty"`
	Marked bool            `json:"marked,omitempty"` // the call carries its reservation's id at the vendor

	Run     string            `json:"run,omitempty"`
	Agent   string            `json:"agent,omitempty"`
	Host    string            `json:"host,omitempty"` // empty where nothing was kept to find the call by
	Path    string            `json:"path,omitempty"`
	IDs     map[string]string `json:"ids,omitempty"`
	Params  []vendors.Param   `json:"params,omitempty"` // those that the row's Trace names, and the headers that redirect
	Header  http.Header       `json:"header,omitempty"` // those that the vendor gets copied, whose money moves among them
	Sent    time.Time         `json:"sent,omitzero"`
	Booked  []cost.Line       `json:"booked,omitempty"` // in the vendor's currency
	Objects []string          `json:"objects,omitempty"`
	Due     time.Time         `json:"due,omitzero"` // when to look again
	Again   *sending          `json:"again,omitempty"`
}

// trace is what to keep of a, as far as it has come.
func (a *attempt) trace() trace {
	row := a.call.Operation
	send, body := a.marks(a.id)
	t := trace{
		Kind: a.bound.Kind, Lines: a.bound.Lines, Rates: a.rates, Send: a.bound.Send, Object: a.bound.Object,
		Marked: len(send) > 0 || body != nil,
	}
	if row.Reconcile == nil {
		return t
	}
	t.Run, t.Agent, t.Host, t.Path, t.IDs, t.Sent = a.claims.Run, a.claims.Agent, a.call.Host, a.call.Path, a.call.IDs, a.start.UTC()
	sent := *a.call
	sent.Params = withSend(a.call.Params, a.bound.Send)
	t.Params = sent.Listed(slices.Concat(row.Trace, a.vendor.RedirectHeaders))
	t.Again = a.sending()
	t.Header = http.Header{}
	for _, name := range slices.Concat(a.vendor.Headers, a.vendor.RedirectHeaders) { // without the latter it is another account's
		if values := a.call.Header[name]; len(values) > 0 {
			t.Header[name] = values
		}
	}
	return t
}

// reconcilable is a trace that says what came of the call, for the look that is due later.
func (a *attempt) reconcilable() string {
	if a.call.Operation.Reconcile == nil {
		return ""
	}
	return a.seal(a.permit.Hold().ID, a.kept.with(a.cost, a.billed, time.Now()))
}

// with is t with what a reply or the vendor's records have said since: c, which cost booked in the vendor's currency.
func (t trace) with(c vendors.Settlement, booked []cost.Line, now time.Time) trace {
	t.Again = nil // it is known to have been executed
	t.Booked, t.Objects, t.Due = booked, slices.Clone(t.Objects), time.Time{}
	for _, id := range append(slices.Clone(c.Objects), c.Object) { // the one that still holds money among them
		if id != "" && !slices.Contains(t.Objects, id) {
			t.Objects = append(t.Objects, id)
		}
	}
	if c.Again > 0 {
		t.Due = now.Add(c.Again).UTC()
	}
	return t
}

// mostTrace is how long what is kept to find a call again may be, in bytes of its parameters and headers: an agent chooses
// them, and the ledger keeps them for a month, of calls that the vendor refuses too.
const mostTrace = 16 << 10

// memorize keeps the trace for the reservation that a asks for. A call that is too long for that is settled and tried
// again as any other, and nobody but a person finds it at the vendor.
func (a *attempt) memorize() string {
	t := a.trace()
	size := 0
	for _, p := range t.Params {
		size += len(p.Name) + len(p.Value)
	}
	for _, values := range t.Header {
		for _, v := range values {
			size += len(v)
		}
	}
	if size > mostTrace {
		t = trace{Kind: t.Kind, Lines: t.Lines, Rates: t.Rates, Send: t.Send, Object: t.Object, Marked: t.Marked}
	}
	a.kept = t
	return a.seal(a.id, t)
}

// remember takes up the first attempt's trace: a retry sends the same, at the same amount.
func (a *attempt) remember(memo string) error {
	t, err := openTrace(a.secret, a.claims.Tenant, a.permit.Hold().ID, memo)
	if err != nil {
		// Fails closed: what the first attempt sent is not known, so nothing can be the same.
		return vendors.Refuse(reason.IdempotencyInFlight, "the first attempt with this idempotency key left nothing that can be sent again; use a new key")
	}
	a.kept = t
	bound := a.bound
	bound.Probe, bound.Kind, bound.Lines, bound.Send, bound.Object = nil, t.Kind, t.Lines, t.Send, t.Object
	err = a.judge(bound) // the key may be a renewed one, of another policy
	a.rates = t.Rates
	if err != nil {
		return err
	}
	return a.heldByAll()
}

// heldByAll refuses a retry of a narrowed key whose own budgets hold nothing of the first attempt, which another key of its
// run has made: if that has not arrived, this one is what moves the money, past the budgets that narrow it. Where the
// vendor has executed the call already, a second send executes nothing.
func (a *attempt) heldByAll() error {
	h := a.permit.Hold()
	if h.Phase == ledger.Settled || h.Phase == ledger.Pending {
		return nil
	}
	for _, b := range a.claims.books() {
		counts := func(l cost.Line) bool { return b.Counts(h.Operation, l) && b.Currency == l.Currency }
		holds := func(e ledger.Entry) bool { return e.Budget == b.Name && e.Of == b.Of }
		if b.Of != "" && slices.ContainsFunc(a.lines, counts) && !slices.ContainsFunc(h.Entries, holds) {
			return vendors.Refuse(reason.IdempotencyInFlight, "what became of the first attempt with this idempotency key is not known, and it was not made with this vault key; send it again with that one")
		}
	}
	return nil
}

// A sealed trace is "live" or "test", the box, and the reference of the credential that opens it.
const (
	liveBox = "live"
	testBox = "test"
)

func (a *attempt) seal(reservation string, t trace) string {
	return t.seal(a.secret, a.claims.Tenant, reservation, a.ref(), a.claims.live)
}

// seal seals t for this reservation under the credential p, which ref names.
func (t trace) seal(p vendors.Placement, tenant, reservation, ref string, live bool) string {
	text, _ := json.Marshal(t) // strings, times and whole numbers: it cannot fail
	mode := testBox
	if live {
		mode = liveBox
	}
	return mode + " " + base64.RawStdEncoding.EncodeToString(sealText(p, text, tenant, reservation)) + " " + ref
}

// labelOf reads what a sealed trace says in the clear: whose credential opens it. Nothing but a fetch and an attempt to
// open may rest on it.
func labelOf(memo string) (ref string, live bool, err error) {
	mode, rest, _ := strings.Cut(memo, " ")
	_, ref, found := strings.Cut(rest, " ")
	if !found || mode != liveBox && mode != testBox {
		return "", false, errNotKept
	}
	return ref, mode == liveBox, nil
}

// openTrace opens the trace that was sealed for this reservation under the credential p.
func openTrace(p vendors.Placement, tenant, reservation, memo string) (t trace, err error) {
	_, rest, _ := strings.Cut(memo, " ")
	box, _, _ := strings.Cut(rest, " ")
	sealed, err := base64.RawStdEncoding.DecodeString(box)
	if err != nil {
		return t, errNotKept
	}
	text, err := openText(p, sealed, tenant, reservation)
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(text, &t)
}

var (
	errNotKept = errors.New("nothing was kept of the call")
	errSealed  = errors.New("what was kept of the call was sealed under another credential, or was changed")
)

// sealText encrypts text so that it opens under the credential p, in the tenant and under the name that it is kept by,
// and nowhere else.
func sealText(p vendors.Placement, text []byte, tenant, name string) []byte {
	box := boxOf(p)
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(text)+box.Overhead())
	_, _ = rand.Read(nonce) // never fails: the program ends instead
	return box.Seal(nonce, nonce, text, []byte(digest(tenant, name)))
}

func openText(p vendors.Placement, sealed []byte, tenant, name string) ([]byte, error) {
	box := boxOf(p)
	if len(sealed) < box.NonceSize() {
		return nil, errNotKept
	}
	text, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte(digest(tenant, name)))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}

// boxOf seals with the credential, which never leaves this process but to the vendor.
func boxOf(p vendors.Placement) cipher.AEAD {
	key := sha256.Sum256([]byte(digest(append([]string{"trace", p.Value}, p.Secrets...)...)))
	block, _ := aes.NewCipher(key[:]) // 32 bytes are a key
	box, _ := cipher.NewGCM(block)    // of a block of 16 bytes
	return box
}
