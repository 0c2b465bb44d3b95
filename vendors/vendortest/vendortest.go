// Package vendortest states what a [vendors.Vendor] promises, one law a sentence, and tries each on an adapter and
// on vectors of its calls: one call, what the table has to say of it, and one reply. Run is for tests, Test for
// anything else. The kit is itself tested by vendors that are broken on purpose: each must fail the law that it is
// named for.
//
// What is not tried: whether the table knows every operation that the vendor publishes, and whether a price is the
// vendor's. That is for each adapter's own tests.
package vendortest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
)

// A Kit is what is tried.
type Kit struct {
	Vendor vendors.Vendor

	// Vectors are calls of the vendor, of which those that cost matter most; see [Read] and [ReadWire].
	Vectors []Vector

	// Account is the credential's account in every vector that names none.
	Account string

	// Over names the vectors in which the vendor takes more than the bound, as vendors may: the brake books it in full
	// and flags it. One that does not is an error.
	Over []string
}

// A Law is one promise of the contract.
type Law struct {
	Name     string // stable: a failure is looked up by it
	Sentence string
	try      func(*world) error
}

// Laws returns all laws, those of the table first.
func Laws() []Law { return append([]Law(nil), laws...) }

// Run tries every law as a subtest.
func Run(t *testing.T, k Kit) {
	w, err := newWorld(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, law := range laws {
		t.Run(law.Name, func(t *testing.T) {
			if err := w.try(law); err != nil {
				t.Errorf("%s:\n%v", law.Sentence, err)
			}
		})
	}
}

// Test tries every law and returns what was broken: an error for each law, joined, each with the law's name first.
func Test(k Kit) error {
	w, err := newWorld(k)
	if err != nil {
		return err
	}
	var all []error
	for _, law := range laws {
		if err := w.try(law); err != nil {
			all = append(all, &Broken{law, err})
		}
	}
	return errors.Join(all...)
}

// Broken says which law was broken, and how.
type Broken struct {
	Law Law
	Err error
}

// Error is the law's name and sentence, and where it was broken.
func (b *Broken) Error() string { return fmt.Sprintf("%s: %s:\n%v", b.Law.Name, b.Law.Sentence, b.Err) }

// Unwrap is where it was broken.
func (b *Broken) Unwrap() error { return b.Err }

// try tries a law. An adapter that panics breaks it.
func (w *world) try(law Law) (err error) {
	defer contain(&err)
	return law.try(w)
}

func contain(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the adapter panicked: %v", r)
	}
}

// A world is a kit with its table and its vectors played.
type world struct {
	Kit
	table  *vendors.Table // nil where NewTable refuses the vendor
	err    error          // of NewTable
	played []played
}

func newWorld(k Kit) (*world, error) {
	w := &world{Kit: k}
	if w.table, w.err = vendors.NewTable([]vendors.Vendor{k.Vendor}); w.err != nil {
		w.table = nil
		return w, nil // the first law says so
	}
	names := map[string]bool{}
	for _, v := range k.Vectors {
		if names[v.Name] || v.Name == "" {
			return nil, fmt.Errorf("vendortest: vector %q has no name of its own", v.Name)
		}
		names[v.Name] = true
		p, err := w.play(v)
		if err != nil {
			return nil, fmt.Errorf("vendortest: vector %s: %w", v.Name, err)
		}
		w.played = append(w.played, p)
	}
	return w, nil
}

// problems collects what breaks one law.
type problems []error

func (p *problems) add(format string, args ...any) {
	if len(*p) < 20 {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func (p problems) err() error { return errors.Join(p...) }
