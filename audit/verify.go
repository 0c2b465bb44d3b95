package audit

import (
	"crypto/ed25519"
	"fmt"
	"iter"
)

// A Head is the end of a writer's chain.
type Head struct {
	N    int64  `json:"n"`
	Hash string `json:"hash"`
}

// VerifyOptions are the options of [Verify].
type VerifyOptions struct {
	// Keys are the public keys of writers. Where it is set, a link that none of them has signed is an error.
	Keys []ed25519.PublicKey

	// From is where the chains went on from, by writer, where older records were put away or removed on purpose: the Heads of
	// the verification of those. A writer that is not in it has to begin with its first record. Of what was put away nothing
	// may stand there once more: a batch that was given again across the cut looks inserted; verify both parts together then.
	From map[string]Head

	// Until is what has to be there still: Heads that were kept elsewhere, those of a [Checkpoint] say. A chain that ends
	// earlier was cut off.
	Until map[string]Head
}

// Verified is what [Verify] has found to be whole.
type Verified struct {
	Records int64
	Heads   map[string]Head // by writer: keep them where who can write the records cannot
}

// A Tampered is the first record that is not as its writer has written it, or not where.
type Tampered struct {
	Index  int64  // of the record among those that were read, from 0; their number where a chain was cut off
	ID     string // of the record; may itself be made up
	Writer string
	N      int64 // in the writer's chain: of the record, or the first that is missing
	Why    string
}

// Error says what is wrong with which record.
func (t *Tampered) Error() string {
	return fmt.Sprintf("audit: record %d (%s), number %d of writer %s: %s", t.Index, t.ID, t.N, t.Writer, t.Why)
}

// Verify reads records that a [Chain] has written, each writer's in its order, and stops at the first that was changed,
// removed, inserted or put elsewhere: then the error is a [*Tampered]. A record that cannot be read is an error too, and so
// is one without a link. The same record twice in a row counts once.
//
// It does not see that all records of a writer were removed, nor, without Until, that the last ones were.
func Verify(records iter.Seq2[Record, error], o *VerifyOptions) (Verified, error) {
	if o == nil {
		o = &VerifyOptions{}
	}
	v := verifier{VerifyOptions: o, heads: map[string]Head{}, last: map[string][]string{}}
	for w, h := range o.From {
		if h.N < 0 {
			return v.found(), &Tampered{Writer: w, N: h.N, Why: "made up: a chain cannot go on from a number that none has"}
		}
		v.heads[w] = h
	}
	for w, h := range o.Until {
		if from := o.From[w]; from.N == h.N && from != h {
			return v.found(), &Tampered{Writer: w, N: h.N, Why: "changed: its hash was another when it was kept"}
		}
	}
	for r, err := range records {
		if err != nil {
			return v.found(), err
		}
		if t := v.look(r); t != nil {
			return v.found(), t
		}
		v.read++
	}
	for w, h := range o.Until {
		if got := v.heads[w]; got.N < h.N {
			return v.found(), &Tampered{Index: v.read, Writer: w, N: got.N + 1, Why: fmt.Sprintf("removed: the chain ends at %d and went to %d", got.N, h.N)}
		}
	}
	return v.found(), nil
}

type verifier struct {
	*VerifyOptions
	heads map[string]Head
	last  map[string][]string // by writer: the hashes of its last records, each at its number modulo remembered
	read  int64
}

// remembered is how many records of a writer are known again: some batches.
const remembered = 4 * mostInBatch

func (v *verifier) found() Verified { return Verified{v.read, v.heads} }

// look compares a record with the one that its writer has made before it.
func (v *verifier) look(r Record) *Tampered {
	l := r.Chain
	if l == nil {
		return &Tampered{Index: v.read, ID: r.ID, Why: "inserted: it has no link"}
	}
	bad := func(n int64, format string, args ...any) *Tampered {
		return &Tampered{Index: v.read, ID: r.ID, Writer: l.Writer, N: n, Why: fmt.Sprintf(format, args...)}
	}
	hash, err := hashOf(r)
	head := v.heads[l.Writer]
	switch {
	case err != nil || hash != l.Hash:
		return bad(l.N, "changed: its content is not what its hash is of")
	case l.rewritten:
		return bad(l.N, "changed: its line is not written as a sink writes it")
	case len(v.Keys) > 0 && !signedBy(v.Keys, signed(l.Hash), l.Sign):
		return bad(l.N, "changed or inserted: none of the keys has signed it")
	case l.N == head.N && l.Hash == head.Hash, v.knows(l):
		return nil // the same once more
	case l.N <= head.N:
		return bad(l.N, "put elsewhere or inserted: number %d comes before it", head.N)
	case l.Lost < 0 || l.N-1-l.Lost > head.N:
		return bad(head.N+1, "removed: numbers %d to %d are missing before it", head.N+1, l.N-1-max(0, l.Lost))
	case l.Prev != head.Hash && (l.Lost == 0 || l.N-1-l.Lost == head.N):
		return bad(l.N, "it does not follow the record before it, which was changed or inserted")
	}
	switch until, ok := v.Until[l.Writer]; {
	case ok && head.N < until.N && until.N < l.N:
		return bad(until.N, "removed: number %d was there when it was kept", until.N)
	case ok && until.N == l.N && until.Hash != l.Hash:
		return bad(l.N, "changed: its hash was another when it was kept")
	}
	v.heads[l.Writer] = Head{l.N, l.Hash}
	v.remember(l)
	return nil
}

func (v *verifier) remember(l *Link) {
	last := v.last[l.Writer]
	if at := int(l.N % remembered); at < len(last) {
		last[at] = l.Hash
	} else {
		v.last[l.Writer] = append(append(last, make([]string, at-len(last))...), l.Hash)
	}
}

// knows says whether the writer's record of that number was this one. The hash is of the number, too.
func (v *verifier) knows(l *Link) bool {
	last := v.last[l.Writer]
	at := int(l.N % remembered)
	return l.N > 0 && at < len(last) && last[at] == l.Hash
}
