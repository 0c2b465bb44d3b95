package keybrake_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/token"
)

// Where the claims stand in a token's body of one block: after version, key id, count and length, and before the next key,
// the signature and the seed.
const claimsAt, kidAt, countAt, nextLen, sigLen, seedLen = 12, 1, 9, 32, 64, 32

const behindClaims = nextLen + sigLen + seedLen

// signatureOf is the signature in a body of one block, to be changed.
func signatureOf(body []byte) []byte { return body[len(body)-sigLen-seedLen : len(body)-seedLen] }

// claims is what a token says.
func (h *hostileWorld) claims(t *testing.T, text string) (claims string) {
	t.Helper()
	forge(t, text, func(body []byte) []byte {
		claims = string(body[claimsAt : len(body)-behindClaims])
		return body
	})
	return claims
}

// signed is a token that the brake's own issuer has put its name to, whatever it says.
func (h *hostileWorld) signed(t *testing.T, claims string) string {
	t.Helper()
	text, err := token.Sign(h.private, false, []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// narrowed is the token with v's blocks behind it.
func (v vector) narrowed(t *testing.T, text string) string {
	t.Helper()
	for _, claims := range v.Narrow {
		var compact bytes.Buffer
		if err := json.Compact(&compact, claims); err != nil {
			t.Fatal(err)
		}
		block := compact.String()
		var asIs string
		if json.Unmarshal(claims, &asIs) == nil && block != "null" {
			block = asIs
		}
		var err error
		if text, err = token.Narrow(text, []byte(block)); err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
	}
	return text
}

// reblocked is the token with its blocks, and the seed behind them, changed.
func reblocked(t *testing.T, text string, change func(blocks [][]byte, seed []byte) ([][]byte, []byte)) string {
	t.Helper()
	return forge(t, text, func(body []byte) []byte {
		var blocks [][]byte
		seed := body[len(body)-seedLen:]
		for rest := body[countAt+1 : len(body)-seedLen]; len(rest) > 0; {
			n := 2 + int(binary.BigEndian.Uint16(rest)) + nextLen + sigLen
			blocks, rest = append(blocks, bytes.Clone(rest[:n])), rest[n:]
		}
		blocks, seed = change(blocks, bytes.Clone(seed))
		out := append(bytes.Clone(body[:countAt]), byte(len(blocks)))
		return append(append(out, bytes.Join(blocks, nil)...), seed...)
	})
}

// forged is the token changed in one way. Where the way is one that an issuer could take, it is signed rightly.
func (h *hostileWorld) forged(t *testing.T, how, text string) string {
	t.Helper()
	edit := func(change func(body []byte) []byte) string { return forge(t, text, change) }
	claims := func(old, new string) string {
		was := h.claims(t, text)
		if !strings.Contains(was, old) {
			t.Fatalf("the claims have no %q: %s", old, was)
		}
		return strings.Replace(was, old, new, 1)
	}
	unsigned := func(old, new string) string {
		changed := claims(old, new)
		return edit(func(b []byte) []byte {
			out := binary.BigEndian.AppendUint16(bytes.Clone(b[:claimsAt-2]), uint16(len(changed)))
			return append(append(out, changed...), b[len(b)-behindClaims:]...)
		})
	}
	block := func(b []byte) []byte { return bytes.Clone(b[claimsAt-2 : len(b)-seedLen]) }
	switch how {
	case "a checksum that is wrong":
		return text[:len(text)-1] + string("AB"[strings.Count(text[len(text)-1:], "A")])
	case "one bit of the signature":
		return edit(func(b []byte) []byte { signatureOf(b)[sigLen-1] ^= 1; return b })
	case "no signature":
		return edit(func(b []byte) []byte { clear(signatureOf(b)); return b })
	case "another version":
		return edit(func(b []byte) []byte { b[0] = 2; return b })
	case "version nothing":
		return edit(func(b []byte) []byte { b[0] = 0; return b })
	case "an issuer of nobody's":
		return edit(func(b []byte) []byte { b[kidAt] ^= 1; return b })
	case "another issuer's signature":
		_, other, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := token.Sign(other, false, []byte(h.claims(t, text)))
		if err != nil {
			t.Fatal(err)
		}
		return theirs
	case "another issuer's signature under our name":
		theirs := h.forged(t, "another issuer's signature", text)
		return forge(t, theirs, func(b []byte) []byte {
			kid := token.IDOf(h.private.Public().(ed25519.PublicKey))
			copy(b[kidAt:], kid[:])
			return b
		})
	case "the public key as a secret":
		return edit(func(b []byte) []byte {
			mac := hmac.New(sha256.New, h.private.Public().(ed25519.PublicKey))
			mac.Write(b[:len(b)-sigLen-seedLen])
			clear(signatureOf(b))
			copy(signatureOf(b), mac.Sum(nil))
			return b
		})
	case "the other s":
		// An Ed25519 signature with the group's order added to s verifies in libraries that do not look.
		return edit(func(b []byte) []byte {
			order := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
			carry := 0
			for i, o := range order {
				s := signatureOf(b)[sigLen/2:]
				sum := int(s[i]) + int(o) + carry
				s[i], carry = byte(sum), sum>>8
			}
			return b
		})
	case "a block taken away":
		return edit(func(b []byte) []byte { b[countAt] = 0; return append(b[:claimsAt-2], b[len(b)-seedLen:]...) })
	case "a block twice":
		return edit(func(b []byte) []byte {
			b[countAt] = 2
			return append(append(b[:len(b)-seedLen:len(b)-seedLen], block(b)...), b[len(b)-seedLen:]...)
		})
	case "a block behind the count":
		return edit(func(b []byte) []byte {
			return append(append(b[:len(b)-seedLen:len(b)-seedLen], block(b)...), b[len(b)-seedLen:]...)
		})
	case "a length beyond the end":
		return edit(func(b []byte) []byte { b[10] = 0xff; return b })
	case "a length that is short":
		return edit(func(b []byte) []byte { b[11]--; return b })
	case "an encoding that is not the only one":
		// The last character of the body has bits that no byte uses.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
		body := text[:len(text)-7]
		last := strings.IndexByte(alphabet, body[len(body)-1])
		return sum(body[:len(body)-1] + string(alphabet[last^1]))
	case "padding":
		return sum(text[:len(text)-7] + "=")
	case "live made of test":
		return sum(strings.Replace(text[:len(text)-7], "kbrake1test", "kbrake1live", 1))
	case "another mode":
		return sum(strings.Replace(text[:len(text)-7], "kbrake1test", "kbrake1both", 1))
	case "a larger budget":
		return unsigned("100.00 USD", "100000 USD")
	case "another run":
		return unsigned(hostileRun, hostileRun+"-2")
	case "another tenant":
		return unsigned(hostileTenant, "tenant-of-others")
	case "a later end":
		return unsigned(`"exp":1`, `"exp":9`)
	case "a claim of tomorrow":
		return h.signed(t, claims(`{"id"`, `{"tomorrow":1,"id"`))
	case "a claim twice":
		return h.signed(t, claims(`{"id"`, `{"run":"run-of-others","id"`))
	case "a claim in another spelling":
		return h.signed(t, claims(`"run":`, `"Run":`))
	case "two claims in two spellings":
		return h.signed(t, claims(`{"id"`, `{"RUN":"run-of-others","id"`))
	case "claims and more claims":
		return h.signed(t, h.claims(t, text)+h.claims(t, text))
	case "claims that are a list":
		return h.signed(t, "["+h.claims(t, text)+"]")
	case "claims that are nothing":
		return h.signed(t, "null")
	case "claims that are empty":
		return h.signed(t, "{}")
	case "no claims":
		return h.signed(t, "")
	case "a number for a name":
		return h.signed(t, claims(`"tenant":"`+hostileTenant+`"`, `"tenant":1`))
	case "an end beyond all numbers":
		return h.signed(t, claims(`"exp":1`, `"exp":99999999999999999991`))
	case "an end with a fraction":
		return h.signed(t, claims(`"exp":1`, `"exp":1.5e1`))
	case "no end":
		return h.signed(t, claims(`"exp"`, `"nbf"`))
	case "a policy of tomorrow":
		return h.signed(t, claims(`"policy":{`, `"policy":{"tomorrow":1,`))
	case "a policy twice":
		return h.signed(t, claims(`"policy":{`, `"policy":{"insecure_observe":true,"insecure_observe":false,`))
	case "no policy":
		return h.signed(t, strings.Split(h.claims(t, text), `,"policy"`)[0]+"}")
	case "a tenant of nobody's":
		return h.signed(t, claims(hostileTenant, "tenant-of-nobody"))
	}
	if change := reblockings[how]; change != nil {
		return reblocked(t, text, change)
	}
	switch how {
	case "a block of the holder's behind the first":
		own, err := token.Narrow(text, []byte(`{"id":"zzzzzzzz","all":true,"policy":{"allow":[]}}`))
		if err != nil {
			t.Fatal(err)
		}
		return reblocked(t, own, func(b [][]byte, seed []byte) ([][]byte, []byte) { return [][]byte{b[0], b[len(b)-1]}, seed })
	case "a first block of the holder's":
		_, mine, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := token.Sign(mine, false, []byte(h.claims(t, h.token(t, "everything", true))))
		if err != nil {
			t.Fatal(err)
		}
		return forge(t, theirs, func(b []byte) []byte {
			kid := token.IDOf(h.private.Public().(ed25519.PublicKey))
			copy(b[kidAt:], kid[:])
			return b
		})
	}
	t.Fatalf("there is no forgery %q", how)
	return ""
}

// reblockings are what the holder of a narrowed key can try with its blocks.
var reblockings = map[string]func(blocks [][]byte, seed []byte) ([][]byte, []byte){
	"the last block taken away":         func(b [][]byte, s []byte) ([][]byte, []byte) { return b[:len(b)-1], s },
	"the last block and the seed taken": func(b [][]byte, _ []byte) ([][]byte, []byte) { return b[:len(b)-1], make([]byte, seedLen) },
	"a middle block taken away":         func(b [][]byte, s []byte) ([][]byte, []byte) { return append(b[:1], b[2:]...), s },
	"the first block alone":             func(b [][]byte, s []byte) ([][]byte, []byte) { return b[:1], s },
	"the first block taken away":        func(b [][]byte, s []byte) ([][]byte, []byte) { return b[1:], s },
	"blocks in another order":           func(b [][]byte, s []byte) ([][]byte, []byte) { b[1], b[2] = b[2], b[1]; return b, s },
	"the last block twice":              func(b [][]byte, s []byte) ([][]byte, []byte) { return append(b, b[len(b)-1]), s },
	"the first block twice":             func(b [][]byte, s []byte) ([][]byte, []byte) { return append([][]byte{b[0]}, b...), s },
	"no block":                          func(_ [][]byte, s []byte) ([][]byte, []byte) { return nil, s },
	"six blocks": func(b [][]byte, s []byte) ([][]byte, []byte) {
		for len(b) < 6 {
			b = append(b, b[len(b)-1])
		}
		return b, s
	},
	"another seed":            func(b [][]byte, s []byte) ([][]byte, []byte) { s[0] ^= 1; return b, s },
	"no seed":                 func(b [][]byte, _ []byte) ([][]byte, []byte) { return b, nil },
	"two seeds":               func(b [][]byte, s []byte) ([][]byte, []byte) { return b, append(s, s...) },
	"a larger number in it":   inLast(`"5.00 USD"`, `"9.00 USD"`),
	"another id in it":        inLast(`"id":"b`, `"id":"c`),
	"its next key another":    tailOfLast(sigLen + nextLen - 1),
	"its signature changed":   tailOfLast(0),
	"its signature's R":       tailOfLast(sigLen - 1),
	"a length that is longer": func(b [][]byte, s []byte) ([][]byte, []byte) { b[len(b)-1][1]++; return b, s },
}

// inLast writes new in place of old, of the same length, into the last block.
func inLast(old, new string) func([][]byte, []byte) ([][]byte, []byte) {
	return func(b [][]byte, s []byte) ([][]byte, []byte) {
		b[len(b)-1] = bytes.Replace(b[len(b)-1], []byte(old), []byte(new), 1)
		return b, s
	}
}

// tailOfLast changes a bit so far before the end of the last block.
func tailOfLast(before int) func([][]byte, []byte) ([][]byte, []byte) {
	return func(b [][]byte, s []byte) ([][]byte, []byte) {
		last := b[len(b)-1]
		last[len(last)-1-before] ^= 1
		return b, s
	}
}
