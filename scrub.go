package keybrake

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/vendors"
)

// scrubbed stands where a reply repeated the credential.
const scrubbed = "[keybrake: credential removed]"

// errEncoded is the end of a reply whose body nobody here can read: it could hold the credential, and what the call did
// cost cannot be seen either.
var errEncoded = errors.New("keybrake: the vendor's reply is compressed in a way that was not asked for")

// clean removes the real credential from what came back, before an adapter, a record or the caller sees it. A header whose
// name holds it is left out. A body that is still compressed is withheld.
func clean(secret vendors.Placement, l flight.Landing) flight.Landing {
	s := scrubberOf(secret)
	header := http.Header{}
	for name, values := range l.Header {
		if s.clean(name, false) != name {
			continue
		}
		for _, v := range values {
			header[name] = append(header[name], s.clean(v, false))
		}
	}
	if encoding := strings.Join(l.Header["Content-Encoding"], ","); l.Err == nil && encoding != "" && !strings.EqualFold(encoding, "identity") {
		closeRest(l)
		header.Del("Content-Encoding")
		l.Body, l.Rest, l.Cut = nil, nil, errEncoded
	}
	l.Header, l.Body = header, []byte(s.clean(string(l.Body), l.Cut != nil))
	return l
}

// scrub removes the real credential from a text that an adapter, the network or a base transport has written.
func scrub(secret vendors.Placement, text string) string {
	return scrubberOf(secret).clean(text, false)
}

// A scrubber finds a credential in texts: each of its secret parts as it is, and in hex, in decimal numbers and in base64
// at any place of what was encoded; in each of these, any character may be escaped as in a URL, in JSON or in HTML. What is
// reversed, encrypted, compressed or split over two headers is not found.
type scrubber struct {
	forms []form
	by    [256][]*form // by the byte that they begin with
}

// A form is one way to write a secret.
type form struct {
	text   string
	exact  bool // upper and lower case differ
	spaced bool // encoded: there may be spaces, line ends, commas and colons in it
}

// shortest is the length from which a part of a credential is a secret. None is shorter; it would tear replies apart.
const shortest = 8

func scrubberOf(p vendors.Placement) *scrubber {
	s := &scrubber{}
	for _, part := range append(slices.Clone(p.Secrets), bare(p.Value)) {
		s.add(part)
		s.add(strings.TrimRight(part, "="))
	}
	for i := range s.forms {
		f := &s.forms[i]
		first := f.text[0]
		s.by[first] = append(s.by[first], f)
		if other := lower(first) ^ upper(first) ^ first; !f.exact && other != first {
			s.by[other] = append(s.by[other], f)
		}
	}
	return s
}

// add adds the forms of one secret. A form that stands already is not added again.
func (s *scrubber) add(secret string) {
	if len(secret) < shortest {
		return
	}
	forms := []form{
		{text: secret},
		{text: hex.EncodeToString([]byte(secret)), spaced: true},
		{text: strings.Trim(strings.NewReplacer(" ", "").Replace(fmt.Sprint([]byte(secret))), "[]"), spaced: true},
	}
	// A character that escapes others, in the secret itself, is escaped as a whole by those who write it.
	quoted, _ := json.Marshal(secret)
	for _, text := range []string{url.QueryEscape(secret), url.PathEscape(secret), string(quoted[1 : len(quoted)-1]), html.EscapeString(secret)} {
		forms = append(forms, form{text: text})
	}
	for before := range 3 { // bytes of what is encoded with the secret, in front of it, in the group of three that it begins in
		whole := secret[(3-before)%3:]
		whole = whole[:len(whole)/3*3] // the characters that hold nothing but the secret
		forms = append(forms,
			form{text: base64.StdEncoding.EncodeToString([]byte(whole)), exact: true, spaced: true},
			form{text: base64.URLEncoding.EncodeToString([]byte(whole)), exact: true, spaced: true})
	}
	for _, f := range forms {
		if !slices.Contains(s.forms, f) {
			s.forms = append(s.forms, f)
		}
	}
}

// clean is text without the credential. Of a text that was cut off the beginning of a form at its end is removed too.
func (s *scrubber) clean(text string, cut bool) string {
	var out strings.Builder
	kept := 0 // text up to here is in out, or removed
	for i := 0; i < len(text); i++ {
		if n := s.longest(text[i:], cut); n > 0 {
			out.WriteString(text[kept:i] + scrubbed)
			i += n - 1
			kept = i + 1
		}
	}
	if kept == 0 {
		return text
	}
	out.WriteString(text[kept:])
	return out.String()
}

// longest is the length of the longest form with which text begins, or 0.
func (s *scrubber) longest(text string, cut bool) (n int) {
	for _, f := range s.by[text[0]] {
		n = max(n, f.match(text, cut))
	}
	if c, size := escaped(text); size > 0 && c != text[0] {
		for _, f := range s.by[c] {
			n = max(n, f.match(text, cut))
		}
	}
	return n
}

// match is the length of f at the beginning of text, or 0. Where a character of the secret is one that begins escapes, a
// text can be read both ways.
func (f *form) match(text string, cut bool) int {
	n := f.read(text, cut, true)
	if n == 0 && strings.ContainsAny(f.text, escapes) {
		n = f.read(text, cut, false)
	}
	return n
}

func (f *form) read(text string, cut, escapesFirst bool) int {
	at := 0
	for i := range len(f.text) {
		if f.spaced && i > 0 {
			at += separators(text[at:])
		}
		if at == len(text) {
			if cut && i >= shortest/2 {
				return at
			}
			return 0
		}
		plain := f.same(text[at], f.text[i])
		if !plain || escapesFirst {
			if c, n := escaped(text[at:]); n > 0 && f.same(c, f.text[i]) {
				at += n
				continue
			}
		}
		if !plain {
			return 0
		}
		at++
	}
	return at
}

func (f *form) same(c, want byte) bool { return c == want || !f.exact && lower(c) == lower(want) }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// separators is how much of the beginning of text only parts what is encoded: as it stands, and as JSON writes a line's end.
func separators(text string) (n int) {
	for n < len(text) {
		switch {
		case strings.IndexByte(" \t\r\n,:", text[n]) >= 0:
			n++
		case strings.HasPrefix(text[n:], `\n`), strings.HasPrefix(text[n:], `\r`):
			n += 2
		default:
			return n
		}
	}
	return n
}

// escapes are the characters that an escape begins with.
const escapes = `%\&`

// escaped reads the one character that text begins with an escape of, and how long that is; 0 where it begins with none.
// An escape whose first character is escaped itself is read as well.
func escaped(text string) (c byte, n int) {
	switch rest := text[1:]; text[0] {
	case '%': // %5f, %255f
		for strings.HasPrefix(rest, "25") {
			if _, digits := number(text, rest[2:], 2, 16); digits == 0 {
				break // it is the percent sign itself
			}
			rest = rest[2:]
		}
		return number(text, rest, 2, 16)
	case '\\': // \u005f, \x5f, \137, \/ and what stands behind two backslashes or more
		for more := 0; more < 7 && strings.HasPrefix(rest, `\`); more++ { // an end, or many of them would take long
			rest = rest[1:]
		}
		switch {
		case rest == "":
		case rest[0] == 'u':
			return number(text, rest[1:], 4, 16)
		case rest[0] == 'x':
			return number(text, rest[1:], 2, 16)
		case rest[0] >= '0' && rest[0] <= '3':
			return number(text, rest, 3, 8)
		default:
			return rest[0], len(text) - len(rest) + 1
		}
	case '&': // &#95; &#x5f; &lowbar; and &amp;#95;
		for strings.HasPrefix(rest, "amp;") {
			rest = rest[len("amp;"):]
		}
		end := strings.IndexByte(rest[:min(len(rest), 12)], ';')
		if end < 0 {
			return 0, 0
		}
		if plain := html.UnescapeString("&" + rest[:end+1]); len(plain) == 1 {
			return plain[0], len(text) - len(rest) + end + 1
		}
	}
	return 0, 0
}

// number reads digits of text's end rest as one character.
func number(text, rest string, digits, base int) (c byte, n int) {
	if len(rest) < digits {
		return 0, 0
	}
	v, err := strconv.ParseUint(rest[:digits], base, 8)
	if err != nil {
		return 0, 0
	}
	return byte(v), len(text) - len(rest) + digits
}
