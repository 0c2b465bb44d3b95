package token_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/token"
)

const (
	letters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // of base32
	checkLen = 7
	headLen  = len(token.Prefix) + len("live")
	maxBody  = (token.MaxLen - len(token.Prefix) - 4 - checkLen) * 5 / 8
	overhead = 1 + 8 + 1 + 2 + ed25519.SignatureSize
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// golden is a token of issuer(1), live, with the claims {"run":"run_42"}.
const golden = "kbrake1liveAENVLZEN5OFRF7YBAAIHWITSOVXCEORCOJ2W4XZUGIRH3UBFVN2V2DJSKX2FHQCKSFLF46SIKEQUZ5SQ4JR2AP3BFSUJYJJC3AZZPSRT" +
	"23OTWAK52QUNH2LXKF6VSMMEEL3STCE3LJKU5XQONIFAQW6MDSY"

// issuer makes a key pair that is the same in every run.
func issuer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(priv ed25519.PrivateKey) ed25519.PublicKey { return priv.Public().(ed25519.PublicKey) }

func trust(privs ...ed25519.PrivateKey) map[[8]byte]ed25519.PublicKey {
	keys := map[[8]byte]ed25519.PublicKey{}
	for _, p := range privs {
		keys[token.KeyID(public(p))] = public(p)
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
func refused(t *testing.T, what, tok string, keys map[[8]byte]ed25519.PublicKey, want error) {
	t.Helper()
	claims, _, err := token.Verify(tok, keys)
	if claims != nil || !errors.Is(err, want) {
		t.Errorf("%s: got claims %q, %v; want %v", what, claims, err, want)
	}
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
			got, isLive, err := token.Verify(sign(t, a, live, claims), trust(b, a))
			if err != nil || string(got) != claims || isLive != live {
				t.Errorf("%s: got %q, live %v, %v", name, got, isLive, err)
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
	if claims, live, err := token.Verify(golden, trust(issuer(1))); err != nil || !live || string(claims) != `{"run":"run_42"}` {
		t.Errorf("the fixed token: %q, %v, %v", claims, live, err)
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
			if claims, _, err := token.Verify(tok[:i]+string([]byte{byte(b)})+tok[i+1:], keys); err != token.ErrMalformed || claims != nil {
				t.Fatalf("byte %d as %q: %q, %v", i, b, claims, err)
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
			if claims, _, err := token.Verify(forged, keys); err == nil || claims != nil {
				t.Fatalf("byte %d as %q: accepted with %q", i, other, claims)
			}
		}
	}
}

func TestForgeriesAreRefused(t *testing.T) {
	a, b := issuer(1), issuer(2)
	tok := sign(t, a, false, "claims")
	kid := token.KeyID(public(a))
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
		"a length too large":      {set(10, 0xff), token.ErrMalformed},
		"a length too small":      {set(11, 5), token.ErrMalformed},
		"other claims":            {set(12, 'C'), token.ErrUntrusted},
		"another signature":       {body(func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), token.ErrUntrusted},
		"no signature":            {body(func(p []byte) []byte { return p[:len(p)-ed25519.SignatureSize] }), token.ErrMalformed},
		"a byte more":             {body(func(p []byte) []byte { return append(p, 0) }), token.ErrMalformed},
		"a second block behind":   {body(func(p []byte) []byte { return append(p, p[10:]...) }), token.ErrMalformed},
		"a body of nothing":       {body(func([]byte) []byte { return nil }), token.ErrMalformed},
		"the claims of one issuer under another's name": {body(func(p []byte) []byte {
			other := token.KeyID(public(b))
			copy(p[1:9], other[:])
			return p
		}), token.ErrUntrusted},
		"signed by another issuer": {body(func(p []byte) []byte {
			return append(p[:len(p)-64], ed25519.Sign(b, append([]byte("claims"), kid[:]...))...)
		}), token.ErrUntrusted},
		"the claims signed bare": {body(func(p []byte) []byte { return append(p[:len(p)-64], ed25519.Sign(a, []byte("claims"))...) }), token.ErrUntrusted},
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
			if claims, _, err := token.Verify(sealed(tok[:last]+string(c)+tok[last+1:]), keys); err == nil {
				t.Errorf("%d claims: %q for %q is accepted with %q", n, c, tok[last], claims)
			}
		}
	}
}

func TestTrustIsByKeyAlone(t *testing.T) {
	a, b := issuer(1), issuer(2)
	tok := sign(t, a, true, "claims")
	refused(t, "no keys", tok, nil, token.ErrUntrusted)
	refused(t, "another issuer's key", tok, trust(b), token.ErrUntrusted)
	swapped := map[[8]byte]ed25519.PublicKey{token.KeyID(public(a)): public(b)}
	refused(t, "another issuer's key under this key's name", tok, swapped, token.ErrUntrusted)
	for _, broken := range []ed25519.PublicKey{nil, {}, public(a)[:31], append(public(a), 0)} {
		refused(t, "a key of the wrong size", tok, map[[8]byte]ed25519.PublicKey{token.KeyID(public(a)): broken}, token.ErrUntrusted)
	}
	if token.KeyID(public(a)) == token.KeyID(public(b)) {
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
		if n := testing.AllocsPerRun(10, func() { _, _, _ = token.Verify(tok, unknown) }); n != 0 {
			t.Errorf("%s: refused after %v allocations", name, n)
		}
	}
	cheap := testing.AllocsPerRun(10, func() { _, _, _ = token.Verify(good[:len(good)-1]+"!", unknown) })
	dear := testing.AllocsPerRun(10, func() { _, _, _ = token.Verify(good, trust(issuer(1))) })
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
	if claims, _, err := token.Verify(longest, trust(issuer(1))); err != nil || len(claims) != most {
		t.Errorf("the longest token: %d claims, %v", len(claims), err)
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
		_, _, err := token.Verify(bad, nil)
		if err != token.ErrMalformed && err != token.ErrUntrusted {
			t.Errorf("got %v", err)
		}
	}
}

// Whatever Verify accepts is to the byte what Sign has made of it, for one of the trusted keys.
func FuzzVerify(f *testing.F) {
	a, b, stranger := issuer(1), issuer(2), issuer(3)
	keys := trust(a, b)
	good := sign(f, a, true, `{"run":"r"}`)
	f.Add(good, false)
	f.Add(sign(f, b, false, ""), true)
	f.Add(sign(f, stranger, true, "x"), true)
	f.Add(good[:len(good)-checkLen]+"\n"+strings.Repeat("A", checkLen), true)
	f.Add(token.Prefix+"live"+strings.Repeat("A", 200), true)
	f.Fuzz(func(t *testing.T, tok string, seal bool) {
		if seal && len(tok) >= checkLen {
			tok = sealed(tok) // so that the mutations get past the check
		}
		claims, live, err := token.Verify(tok, keys)
		if err != nil {
			if claims != nil || err != token.ErrMalformed && err != token.ErrUntrusted {
				t.Fatalf("refused with %q, %v", claims, err)
			}
			return
		}
		for _, priv := range []ed25519.PrivateKey{a, b} {
			if made, err := token.Sign(priv, live, claims); err == nil && made == tok {
				return
			}
		}
		t.Fatalf("%q is accepted and was never signed", tok)
	})
}
