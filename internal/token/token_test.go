package token_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/token"
)

const (
	letters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // of base32
	checkLen = 7
	headLen  = len(token.Prefix) + len("live")
	maxBody  = (token.MaxLen - len(token.Prefix) - 4 - checkLen) * 5 / 8
	tail     = ed25519.PublicKeySize + ed25519.SignatureSize + ed25519.SeedSize // behind the claims of a token of one block
	overhead = 1 + 8 + 1 + 2 + tail
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// golden is a token of issuer(1), live, with the claims {"run":"run_42"}.
const golden = "kbrake1liveAENVLZEN5OFRF7YBAAIHWITSOVXCEORCOJ2W4XZUGIRH2IJUJXN3MHPJMFUE43MHWM3TGMKKZSMFRNW4KCRTRLCK5P4YIA7WB62FMRFJL3ZVF" +
	"FPEFTYOLGO2EXXBWTQXWOVCX46TANNSZY34TI7GA6QHFWNYHVJWMSW6Y6AY3H7YC43YP3NYJ7BZBJSAYLS37IJB2A5Z7QKDZQSUXLGHYKA2JA6MD55OMVNT2GFNC3IJS4YTGN4CCM3U5EPMFLSTI"

// issuer makes a key pair that is the same in every run.
func issuer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(priv ed25519.PrivateKey) ed25519.PublicKey { return priv.Public().(ed25519.PublicKey) }

func trust(privs ...ed25519.PrivateKey) map[token.KeyID]ed25519.PublicKey {
	keys := map[token.KeyID]ed25519.PublicKey{}
	for _, p := range privs {
		keys[token.IDOf(public(p))] = public(p)
	}
	return keys
}

func sign(t testing.TB, priv ed25519.PrivateKey, live bool, claims string) string {
	t.Helper()
	tok, err := token.Sign(priv, live, []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// refused says that a token gives its holder nothing, whatever the error.
func refused(t *testing.T, what, tok string, keys map[token.KeyID]ed25519.PublicKey, want error) {
	t.Helper()
	got, err := token.Verify(tok, keys)
	if got.Claims != nil || !errors.Is(err, want) {
		t.Errorf("%s: got %q, %v; want %v", what, got.Claims, err, want)
	}
}

// says reports whether the blocks of a token have these claims.
func says(t token.Token, claims ...string) bool {
	return slices.EqualFunc(t.Claims, claims, func(got []byte, want string) bool { return string(got) == want })
}

// sealed gives a token that was changed the check that belongs to it, as a forger would.
func sealed(t string) string {
	t = t[:len(t)-checkLen]
	sum := crc32.Checksum([]byte(t), crc32.MakeTable(crc32.Castagnoli))
	return t + encoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// rebuilt is the token of a changed body.
func rebuilt(t *testing.T, tok string, change func(body []byte) []byte) string {
	t.Helper()
	body, err := encoding.DecodeString(tok[headLen : len(tok)-checkLen])
	if err != nil {
		t.Fatal(err)
	}
	return sealed(tok[:headLen] + encoding.EncodeToString(change(body)) + strings.Repeat("A", checkLen))
}

// signature is that of a body of one block, to be changed.
func signature(body []byte) []byte {
	return body[len(body)-ed25519.SeedSize-ed25519.SignatureSize : len(body)-ed25519.SeedSize]
}

func TestRoundTrip(t *testing.T) {
	a, b := issuer(1), issuer(2)
	for name, claims := range map[string]string{
		"claims":       `{"run":"run_42"}`,
		"no claims":    "",
		"binary":       "\x00\xff\n",
		"many claims":  strings.Repeat("x", 4000),
		"other tokens": sign(t, b, true, "inner"),
	} {
		for _, live := range []bool{true, false} {
			got, err := token.Verify(sign(t, a, live, claims), trust(b, a))
			if err != nil || !says(got, claims) || got.Live != live || got.Issuer != token.IDOf(public(a)) {
				t.Errorf("%s: got %+v, %v", name, got, err)
			}
		}
	}
}

// The form is a contract: tokens that were issued stay valid, and secret scanners look for it.
func TestTheFormIsFixed(t *testing.T) {
	tok := sign(t, issuer(1), true, `{"run":"run_42"}`)
	const want = "kbrake1live"
	if !strings.HasPrefix(tok, want) || !strings.HasPrefix(sign(t, issuer(1), false, ""), "kbrake1test") {
		t.Errorf("%s does not start with %s", tok, want)
	}
	if sealed(tok) != tok {
		t.Error("the check is not the CRC-32C of all before it")
	}
	if tok != golden {
		t.Errorf("the token of fixed claims has changed:\n%s\nwas\n%s", tok, golden)
	}
	if got, err := token.Verify(golden, trust(issuer(1))); err != nil || !got.Live || !says(got, `{"run":"run_42"}`) {
		t.Errorf("the fixed token: %+v, %v", got, err)
	}
}

func TestAlphabet(t *testing.T) {
	for n := range 60 { // every length of base32's last group
		tok := sign(t, issuer(1), n%2 == 0, strings.Repeat("\xff", n))
		if strings.Trim(tok, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%s is not made of A-Z a-z 0-9", tok)
		}
	}
}

func TestEveryChangedByteIsRefused(t *testing.T) {
	tok := sign(t, issuer(1), true, `{"run":"r"}`)
	keys := trust(issuer(1))
	for i := range len(tok) {
		for b := range 256 {
			if byte(b) == tok[i] {
				continue
			}
			if got, err := token.Verify(tok[:i]+string([]byte{byte(b)})+tok[i+1:], keys); err != token.ErrMalformed || got.Claims != nil {
				t.Fatalf("byte %d as %q: %q, %v", i, b, got.Claims, err)
			}
		}
	}
}

// The check is no secret: what holds against a forger is the signature, over every byte of the body.
func TestEveryChangedByteIsRefusedThoughTheCheckFits(t *testing.T) {
	tok := sign(t, issuer(1), true, `{"run":"r"}`)
	keys := trust(issuer(1))
	for i := range len(tok) - checkLen {
		at := strings.IndexByte(letters, tok[i])
		for _, other := range []byte{letters[(at+1)%32], letters[(at+16)%32], 'z', '0', '='} {
			if other == tok[i] {
				continue
			}
			forged := sealed(tok[:i] + string(other) + tok[i+1:])
			if got, err := token.Verify(forged, keys); err == nil || got.Claims != nil {
				t.Fatalf("byte %d as %q: accepted with %q", i, other, got.Claims)
			}
		}
	}
}

func TestForgeriesAreRefused(t *testing.T) {
	a, b := issuer(1), issuer(2)
	tok := sign(t, a, false, "claims")
	kid := token.IDOf(public(a))
	body := func(change func([]byte) []byte) string { return rebuilt(t, tok, change) }
	set := func(i int, v byte) string {
		return body(func(p []byte) []byte { p[i] = v; return p })
	}
	for name, tt := range map[string]struct {
		tok  string
		want error
	}{
		"the mode turned to live": {sealed(strings.Replace(tok, "test", "live", 1)), token.ErrUntrusted},
		"a mode of its own":       {sealed(strings.Replace(tok, "test", "prod", 1)), token.ErrMalformed},
		"a mode in upper case":    {sealed(strings.Replace(tok, "test", "TEST", 1)), token.ErrMalformed},
		"another prefix":          {sealed(strings.Replace(tok, "kbrake1", "kbrake2", 1)), token.ErrMalformed},
		"another version":         {set(0, 2), token.ErrMalformed},
		"version zero":            {set(0, 0), token.ErrMalformed},
		"no block":                {set(9, 0), token.ErrMalformed},
		"two blocks":              {set(9, 2), token.ErrMalformed},
		"six blocks":              {set(9, 6), token.ErrMalformed},
		"a length too large":      {set(10, 0xff), token.ErrMalformed},
		"a length too small":      {set(11, 5), token.ErrMalformed},
		"other claims":            {set(12, 'C'), token.ErrUntrusted},
		"another signature":       {body(func(p []byte) []byte { signature(p)[63] ^= 1; return p }), token.ErrUntrusted},
		"another next key":        {body(func(p []byte) []byte { p[len(p)-tail] ^= 1; return p }), token.ErrUntrusted},
		"another seed":            {body(func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), token.ErrUntrusted},
		"no seed":                 {body(func(p []byte) []byte { return p[:len(p)-ed25519.SeedSize] }), token.ErrMalformed},
		"a next key of the holder's": {body(func(p []byte) []byte {
			copy(p[len(p)-tail:], public(b))
			copy(p[len(p)-ed25519.SeedSize:], b.Seed())
			return p
		}), token.ErrUntrusted},
		"no signature": {body(func(p []byte) []byte {
			return append(p[:len(p)-tail+32], p[len(p)-ed25519.SeedSize:]...)
		}), token.ErrMalformed},
		"a byte more":           {body(func(p []byte) []byte { return append(p, 0) }), token.ErrMalformed},
		"a second block behind": {body(func(p []byte) []byte { return append(p, p[10:]...) }), token.ErrMalformed},
		"a body of nothing":     {body(func([]byte) []byte { return nil }), token.ErrMalformed},
		"the claims of one issuer under another's name": {body(func(p []byte) []byte {
			other := token.IDOf(public(b))
			copy(p[1:9], other[:])
			return p
		}), token.ErrUntrusted},
		"signed by another issuer": {body(func(p []byte) []byte {
			copy(signature(p), ed25519.Sign(b, append([]byte("claims"), kid[:]...)))
			return p
		}), token.ErrUntrusted},
		"the claims signed bare": {body(func(p []byte) []byte { copy(signature(p), ed25519.Sign(a, []byte("claims"))); return p }), token.ErrUntrusted},
		"base32 in lower case":   {sealed(tok[:headLen] + strings.ToLower(tok[headLen:])), token.ErrMalformed},
		"a line break inside":    {sealed(tok[:40] + "\n" + tok[40:]), token.ErrMalformed},
		"a return inside":        {sealed(tok[:40] + "\r" + tok[40:]), token.ErrMalformed},
		"padding":                {sealed(tok[:len(tok)-checkLen] + "======" + strings.Repeat("A", checkLen)), token.ErrMalformed},
		"a space before":         {" " + tok, token.ErrMalformed},
		"a space behind":         {tok + " ", token.ErrMalformed},
		"twice":                  {tok + tok, token.ErrMalformed},
		"nothing":                {"", token.ErrMalformed},
		"the prefix":             {token.Prefix, token.ErrMalformed},
		"prefix, mode and check": {sealed("kbrake1live" + strings.Repeat("A", checkLen)), token.ErrMalformed},
		"no check":               {tok[:len(tok)-checkLen], token.ErrMalformed},
		"a Stripe key":           {"sk_live_" + strings.Repeat("a", 99), token.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) { refused(t, name, tt.tok, trust(a, b), tt.want) })
	}
}

// Base32's last character can have bits that mean nothing: one token would have several spellings, and a list of
// revoked ones would know one of them.
func TestATokenHasOneSpelling(t *testing.T) {
	keys := trust(issuer(1))
	for n := range 5 {
		tok := sign(t, issuer(1), true, strings.Repeat("x", n))
		last := len(tok) - checkLen - 1
		for _, c := range []byte(letters) {
			if c == tok[last] {
				continue
			}
			if got, err := token.Verify(sealed(tok[:last]+string(c)+tok[last+1:]), keys); err == nil {
				t.Errorf("%d claims: %q for %q is accepted with %q", n, c, tok[last], got.Claims)
			}
		}
	}
}

func TestTrustIsByKeyAlone(t *testing.T) {
	a, b := issuer(1), issuer(2)
	tok := sign(t, a, true, "claims")
	refused(t, "no keys", tok, nil, token.ErrUntrusted)
	refused(t, "another issuer's key", tok, trust(b), token.ErrUntrusted)
	swapped := map[token.KeyID]ed25519.PublicKey{token.IDOf(public(a)): public(b)}
	refused(t, "another issuer's key under this key's name", tok, swapped, token.ErrUntrusted)
	for _, broken := range []ed25519.PublicKey{nil, {}, public(a)[:31], append(public(a), 0)} {
		refused(t, "a key of the wrong size", tok, map[token.KeyID]ed25519.PublicKey{token.IDOf(public(a)): broken}, token.ErrUntrusted)
	}
	if token.IDOf(public(a)) == token.IDOf(public(b)) {
		t.Error("two keys have one name")
	}
}

// What is cheap to refuse is refused first: a flood of rubbish costs no signature check, and what is too long
// costs nothing. Each token here has the faults of every later step too.
func TestCheapChecksComeFirst(t *testing.T) {
	good := sign(t, issuer(1), true, strings.Repeat("x", 3000))
	unknown := trust(issuer(2))
	refused(t, "a damaged check and an unknown issuer", good[:len(good)-1]+"!", unknown, token.ErrMalformed)
	refused(t, "a bad version and an unknown issuer", rebuilt(t, good, func(p []byte) []byte { p[0] = 9; return p }), unknown, token.ErrMalformed)
	refused(t, "an unknown issuer", good, unknown, token.ErrUntrusted)

	for name, tok := range map[string]string{
		"too long":       token.Prefix + "live" + strings.Repeat("A", 1<<20),
		"another prefix": "x" + good[1:],
	} {
		if n := testing.AllocsPerRun(10, func() { _, _ = token.Verify(tok, unknown) }); n != 0 {
			t.Errorf("%s: refused after %v allocations", name, n)
		}
	}
	cheap := testing.AllocsPerRun(10, func() { _, _ = token.Verify(good[:len(good)-1]+"!", unknown) })
	dear := testing.AllocsPerRun(10, func() { _, _ = token.Verify(good, trust(issuer(1))) })
	if cheap >= dear/2 {
		t.Errorf("a damaged token costs %v allocations, a good one %v", cheap, dear)
	}
}

func TestLength(t *testing.T) {
	const most = maxBody - overhead
	longest := sign(t, issuer(1), true, strings.Repeat("x", most))
	if len(longest) > token.MaxLen || len(longest) < token.MaxLen-1 {
		t.Errorf("the longest token has %d bytes", len(longest))
	}
	if got, err := token.Verify(longest, trust(issuer(1))); err != nil || len(got.Claims[0]) != most {
		t.Errorf("the longest token: %d blocks, %v", len(got.Claims), err)
	}
	if tok, err := token.Narrow(longest, nil); !errors.Is(err, token.ErrTooLong) || tok != "" {
		t.Errorf("the longest token is narrowed to one of %d bytes, %v", len(tok), err)
	}
	for _, n := range []int{most + 1, 0xffff, 0xffff + 1, 0xffff + most, 1 << 20} { // the length of claims is two bytes
		if tok, err := token.Sign(issuer(1), true, make([]byte, n)); !errors.Is(err, token.ErrTooLong) || tok != "" {
			t.Errorf("%d claims make a token of %d bytes, %v", n, len(tok), err)
		}
	}
}

// The holder of a bad token learns that it is bad, and nothing of what it says.
func TestErrorsRepeatNothing(t *testing.T) {
	tok := sign(t, issuer(1), true, "secretclaims")
	for _, bad := range []string{tok, tok[:len(tok)-1], sealed(strings.Replace(tok, "live", "test", 1))} {
		_, err := token.Verify(bad, nil)
		if err != token.ErrMalformed && err != token.ErrUntrusted {
			t.Errorf("got %v", err)
		}
	}
}

// narrowed appends blocks to a token.
func narrowed(t testing.TB, tok string, claims ...string) string {
	t.Helper()
	for _, c := range claims {
		var err error
		if tok, err = token.Narrow(tok, []byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	return tok
}

func TestATokenIsNarrowedFourTimes(t *testing.T) {
	a := issuer(1)
	root := sign(t, a, true, "root")
	tok := narrowed(t, root, "1", "2", "3", "4")
	got, err := token.Verify(tok, trust(a))
	if err != nil || !says(got, "root", "1", "2", "3", "4") || !got.Live || got.Issuer != token.IDOf(public(a)) {
		t.Errorf("got %+v, %v", got, err)
	}
	if read, err := token.Read(tok); err != nil || !says(read, "root", "1", "2", "3", "4") {
		t.Errorf("read without the issuer's key: %+v, %v", read, err)
	}
	if tok, err := token.Narrow(tok, []byte("5")); !errors.Is(err, token.ErrTooDeep) || tok != "" {
		t.Errorf("the fifth time: %q, %v", tok, err)
	}
	if one, again := narrowed(t, root, "1"), narrowed(t, root, "1"); one != again || one == narrowed(t, root, "2") {
		t.Error("the same claims do not give the same token")
	}
	rebuilt(t, tok, func(body []byte) []byte {
		if bytes.Contains(body, dissect(t, root).seed) || bytes.Contains(body, issuer(1).Seed()) {
			t.Error("the narrowed token has a secret of its parent's")
		}
		return body
	})
}

func TestWhatIsNoTokenIsNotNarrowed(t *testing.T) {
	good := sign(t, issuer(1), true, "root")
	for _, bad := range []string{"", "sk_live_1", good[:len(good)-1], good + "A"} {
		if tok, err := token.Narrow(bad, []byte("x")); err != token.ErrMalformed || tok != "" {
			t.Errorf("%q is narrowed to %q, %v", bad, tok, err)
		}
		if got, err := token.Read(bad); err != token.ErrMalformed || got.Claims != nil {
			t.Errorf("%q is read as %+v, %v", bad, got, err)
		}
	}
	if tok, err := token.Narrow(good, make([]byte, 0x10000)); !errors.Is(err, token.ErrTooLong) || tok != "" {
		t.Errorf("64 KiB of claims make a token of %d bytes, %v", len(tok), err)
	}
}

// A blocks is a token's body taken apart, as whoever attacks it would.
type blocks struct {
	head  []byte // version, key id, count
	parts [][]byte
	seed  []byte
}

func dissect(t *testing.T, tok string) (b blocks) {
	t.Helper()
	rebuilt(t, tok, func(p []byte) []byte {
		b.head, b.seed = slices.Clone(p[:10]), slices.Clone(p[len(p)-ed25519.SeedSize:])
		for rest := p[10 : len(p)-ed25519.SeedSize]; len(rest) > 0; {
			n := 2 + int(binary.BigEndian.Uint16(rest)) + ed25519.PublicKeySize + ed25519.SignatureSize
			b.parts, rest = append(b.parts, slices.Clone(rest[:n])), rest[n:]
		}
		return p
	})
	return b
}

// joined is the token of these blocks, with the count that belongs to them.
func joined(t *testing.T, like string, seed []byte, parts ...[]byte) string {
	t.Helper()
	return rebuilt(t, like, func(p []byte) []byte {
		head := slices.Clone(p[:10])
		head[9] = byte(len(parts))
		return slices.Concat(append(append([][]byte{head}, parts...), seed)...)
	})
}

// What a narrowed token says cannot be taken away, exchanged, reordered or added to by whoever has not what the block before
// it has published.
func TestBlocksOfAChainCannotBeTakenApart(t *testing.T) {
	a := issuer(1)
	keys := trust(a, issuer(2))
	root := sign(t, a, true, "root")
	child := narrowed(t, root, "less")
	grandchild := narrowed(t, child, "least")
	sibling := narrowed(t, root, "other")
	stranger := narrowed(t, sign(t, issuer(3), true, "root"), "less")
	twin := narrowed(t, sign(t, issuer(2), true, "root"), "less")
	b, c, s := dissect(t, grandchild), dissect(t, child), dissect(t, sibling)
	if tok := joined(t, root, b.seed, b.parts...); tok != grandchild {
		t.Fatal("the test takes tokens apart wrongly")
	}
	// The holder's own block: signed with the seed that he has, put behind fewer blocks than it was made for.
	own := dissect(t, narrowed(t, grandchild, "all"))
	for name, tok := range map[string]string{
		"without its last block":                   joined(t, root, b.seed, b.parts[0], b.parts[1]),
		"without its last block and a seed of own": joined(t, root, issuer(9).Seed(), b.parts[0], b.parts[1]),
		"without its middle block":                 joined(t, root, b.seed, b.parts[0], b.parts[2]),
		"without its first block":                  joined(t, root, b.seed, b.parts[1], b.parts[2]),
		"of its first block alone":                 joined(t, root, b.seed, b.parts[0]),
		"with a sibling's block":                   joined(t, root, s.seed, b.parts[0], b.parts[1], s.parts[1]),
		"with a block of its own behind the first": joined(t, root, own.seed, own.parts[0], own.parts[3]),
		"with a block twice":                       joined(t, root, b.seed, b.parts[0], b.parts[1], b.parts[2], b.parts[2]),
		"in another order":                         joined(t, root, c.seed, b.parts[0], b.parts[2], b.parts[1]),
		"with another issuer's first block":        joined(t, root, b.seed, dissect(t, twin).parts[0], b.parts[1], b.parts[2]),
		"of an issuer that is not trusted":         stranger,
		"as live made of test":                     sealed(strings.Replace(narrowed(t, sign(t, a, false, "root"), "less"), "test", "live", 1)),
	} {
		refused(t, name, tok, keys, token.ErrUntrusted)
	}
	last := len(b.parts[2]) - 1
	for _, i := range []int{2, last - 64, last - 70, last} { // claims, signature, next key
		changed := slices.Clone(b.parts[2])
		changed[i] ^= 1
		refused(t, "with a changed last block", joined(t, root, b.seed, b.parts[0], b.parts[1], changed), keys, token.ErrUntrusted)
	}
	for name, tok := range map[string]string{
		"of no block":   joined(t, root, b.seed),
		"of six blocks": joined(t, root, b.seed, b.parts[0], b.parts[1], b.parts[2], b.parts[2], b.parts[2], b.parts[2]),
	} {
		refused(t, name, tok, keys, token.ErrMalformed)
	}
}

// Whatever Verify accepts is to the byte what Sign and Narrow have made of it, for one of the trusted keys.
func FuzzVerify(f *testing.F) {
	a, b, stranger := issuer(1), issuer(2), issuer(3)
	keys := trust(a, b)
	good := sign(f, a, true, `{"run":"r"}`)
	f.Add(good, false)
	f.Add(sign(f, b, false, ""), true)
	f.Add(narrowed(f, good, "less", "", "least"), true)
	f.Add(sign(f, stranger, true, "x"), true)
	f.Add(good[:len(good)-checkLen]+"\n"+strings.Repeat("A", checkLen), true)
	f.Add(token.Prefix+"live"+strings.Repeat("A", 200), true)
	f.Fuzz(func(t *testing.T, tok string, seal bool) {
		if seal && len(tok) >= checkLen {
			tok = sealed(tok) // so that the mutations get past the check
		}
		got, err := token.Verify(tok, keys)
		if err != nil {
			if got.Claims != nil || err != token.ErrMalformed && err != token.ErrUntrusted {
				t.Fatalf("refused with %q, %v", got.Claims, err)
			}
			return
		}
		for _, priv := range []ed25519.PrivateKey{a, b} {
			made, err := token.Sign(priv, got.Live, got.Claims[0])
			for _, less := range got.Claims[1:] {
				if err == nil {
					made, err = token.Narrow(made, less)
				}
			}
			if err == nil && made == tok {
				return
			}
		}
		t.Fatalf("%q is accepted and was never signed", tok)
	})
}
