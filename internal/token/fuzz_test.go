package token_test

import (
	"slices"
	"testing"

	"github.com/keybrake/keybrake-go/internal/token"
)

// FuzzSpliced changes the bytes of a narrowed key below their encoding, as its holder would who wants to be rid of what
// narrows it: a range of it gives way to a range of another key of his or to bytes of his own. What is then still accepted says
// all that a key which he has says, in that order, and at most more.
func FuzzSpliced(f *testing.F) {
	a := issuer(1)
	keys := trust(a, issuer(2))
	root := sign(f, a, true, `{"run":"r"}`)
	child := narrowed(f, root, "less", "least")
	has := []string{ // and never the root
		child, narrowed(f, root, "other"), narrowed(f, child, "own"), narrowed(f, sign(f, issuer(2), true, "twin"), "less"),
		narrowed(f, sign(f, issuer(3), true, `{"run":"r"}`), "less"), sign(f, a, false, `{"run":"r"}`),
	}
	var held []token.Token
	for _, tok := range has {
		if t, err := token.Verify(tok, keys); err == nil {
			held = append(held, t)
		}
	}
	size := len(child)
	f.Add(uint8(0), uint8(0), uint(0), uint(0), uint(0), uint(0), []byte{}, uint8(3))              // as it is
	f.Add(uint8(0), uint8(1), uint(10), uint(size), uint(10), uint(size), []byte{}, uint8(2))      // another's blocks
	f.Add(uint8(2), uint8(2), uint(118), uint(222), uint(0), uint(0), []byte{}, uint8(3))          // without its middle
	f.Add(uint8(0), uint8(0), uint(9), uint(10), uint(0), uint(0), []byte{1}, uint8(1))            // another count
	f.Add(uint8(5), uint8(0), uint(1), uint(9), uint(1), uint(9), []byte{0xff}, uint8(1))          // another issuer
	f.Add(uint8(4), uint8(0), uint(1), uint(9), uint(1), uint(9), []byte{}, uint8(2))              // a trusted issuer's name
	f.Add(uint8(0), uint8(1), uint(300), uint(size), uint(200), uint(size), []byte("x"), uint8(0)) // more than there is
	f.Add(uint8(0), uint8(0), uint(121), uint(125), uint(0), uint(0), []byte("more"), uint8(3))    // other words in the middle
	f.Add(uint8(0), uint8(0), uint(221), uint(324), uint(0), uint(0), []byte{}, uint8(2))          // without its end
	f.Fuzz(func(t *testing.T, which, with uint8, from, to, otherFrom, otherTo uint, own []byte, count uint8) {
		var other []byte
		rebuilt(t, has[int(with)%len(has)], func(p []byte) []byte { other = slices.Clone(p); return p })
		changed := rebuilt(t, has[int(which)%len(has)], func(p []byte) []byte {
			from, to := within(from, to, len(p))
			otherFrom, otherTo := within(otherFrom, otherTo, len(other))
			p = slices.Concat(p[:from], other[otherFrom:otherTo], own, p[to:])
			if len(p) > 9 && count%8 > 0 {
				p[9] = count % 8 // how many blocks it has
			}
			return p
		})
		got, err := token.Verify(changed, keys)
		if err != nil {
			return
		}
		if !slices.ContainsFunc(held, func(h token.Token) bool {
			return h.Live == got.Live && h.Issuer == got.Issuer && len(got.Claims) >= len(h.Claims) && slices.EqualFunc(h.Claims, got.Claims[:len(h.Claims)], slices.Equal)
		}) {
			t.Fatalf("%q is accepted, and says no more than %q", changed, got.Claims)
		}
	})
}

func within(from, to uint, n int) (int, int) {
	a := int(from % uint(n+1))
	return a, max(a, int(to%uint(n+1)))
}
