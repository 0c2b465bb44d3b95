package redisledger

import (
	"strconv"
	"strings"

	"github.com/keybrake/keybrake-go/ledger"
)

// All key names are made here. Those of a tenant share one hash tag, so that a script never crosses a slot of a
// cluster; the global ones have a tag that no tenant can have.
//
//	kb:{acme}:k:ID       hash    a vault key: open, frozen, and the counters of its own budgets
//	kb:{acme}:b:NAME     hash    a shared budget: spec, limit, rev, and its counters
//	kb:{acme}:r:ID       hash    a reservation
//	kb:{acme}:c:ID       hash    an idempotency claim; expires with the vendor's memory
//	kb:{acme}:o:OBJECT   string  the reservation that carries an object's hold
//	kb:{acme}:n:ID       list    the times of a repeat rule, the newest thousand; expires with its window
//	kb:{acme}:n?:ID      list    the same of one that is only observed
//	kb:{acme}:open       zset    reservations in flight by deadline, and in doubt
//	kb:{acme}:pending    zset    pending reservations by deadline
//	kb:{acme}:controls   hash    revokes and pauses
//	kb:{acme}:alerts     zset    alerts that wait to be acknowledged, in order; the newest ten thousand
//	kb:{acme}:alerttexts hash    what they say
//	kb:{acme}:a:ID       string  until when an alert that was given is not stored again; expires with it
//	kb:{acme}:l:NAME     string  a lease: until when, and who has it; expires with it
//	kb:{acme}:t:NAME     string  a kept text, after until when; expires with it
//	kb:{acme}:m          hash    what shows that writes were lost, see meta.lua
//	kb:{acme}:none       -       stands in KEYS for what a call does not need; never written
//	kb:{*}:controls      hash    the controls that bind every tenant
//	kb:{*}:tenants       set     the registry of tenants
//	kb:{*}:m             hash    as a tenant's, for these two
//	kb:controls          channel controls as they are made, for Watch
type tenant string

func (t tenant) name(kind string) string { return "kb:{" + tag(string(t)) + "}:" + kind }

func (t tenant) key(id string) string      { return t.name("k:" + id) }
func (t tenant) budget(name string) string { return t.name("b:" + name) }
func (t tenant) record(id string) string   { return t.name("r:" + id) }
func (t tenant) claim(id string) string    { return t.name("c:" + id) }
func (t tenant) object(id string) string   { return t.name("o:" + id) }
func (t tenant) lease(name string) string  { return t.name("l:" + name) }
func (t tenant) text(name string) string   { return t.name("t:" + name) }
func (t tenant) open() string              { return t.name("open") }
func (t tenant) pending() string           { return t.name("pending") }
func (t tenant) alerts() string            { return t.name("alerts") }
func (t tenant) alertTexts() string        { return t.name("alerttexts") }
func (t tenant) told(id string) string     { return t.name("a:" + id) }
func (t tenant) controls() string          { return t.name("controls") }
func (t tenant) none() string              { return t.name("none") }
func (t tenant) meta() string              { return t.name("m") }

// repeats is where the times of a repeat rule are. An observed one counts apart.
func (t tenant) repeats(r ledger.Repeat) string {
	if r.Observed {
		return t.name("n?:" + r.ID)
	}
	return t.name("n:" + r.ID)
}

const (
	globalControls = "kb:{*}:controls"
	registry       = "kb:{*}:tenants"
	checkRow       = "kb:{*}:check"
	channel        = "kb:controls"
)

// counter is what e is counted under in its row: no two budgets of a key have the same. A name that begins as a mark
// does is marked itself.
func counter(e ledger.Entry) string {
	name := e.Budget
	switch {
	case e.Shared:
		name = "" // the row is the budget's own
	case e.Of != "":
		name = "@" + strconv.Itoa(len(e.Of)) + ":" + e.Of + name
	case name != "" && strings.Contains("@?=", name[:1]):
		name = "=" + name
	}
	if e.Observed {
		return "?" + name
	}
	return name
}

// metaOf is the meta row of whom key belongs to: a tenant, or the global rows.
func metaOf(key string) string { return key[:strings.Index(key, "}:")+2] + "m" }

// tag writes a tenant's name so that it can stand in a hash tag: letters, digits, dot, underscore and hyphen as
// they are, every other byte as %XX. No two names have the same tag, none is empty, and none holds a brace.
func tag(tenant string) string {
	if tenant == "" {
		return "%"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(tenant) {
		c := tenant[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			b.WriteString(string([]byte{'%', hex[c>>4], hex[c&15]}))
		}
	}
	return b.String()
}

// rows collects the keys of rows and answers with their index in KEYS, counted from 1 as Lua does.
type rows struct {
	keys []string
	at   map[string]int
}

func newRows(keys ...string) *rows {
	r := &rows{keys: keys, at: map[string]int{}}
	for i, k := range keys {
		r.at[k] = i + 1
	}
	return r
}

// index is where key stands in KEYS; it is added when it does not yet.
func (r *rows) index(key string) int {
	if i := r.at[key]; i > 0 {
		return i
	}
	r.keys = append(r.keys, key)
	r.at[key] = len(r.keys)
	return len(r.keys)
}
