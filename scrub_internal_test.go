package keybrake

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/vendors"
)

// The credentials that are looked for, one for each way in which vendors take them.
var plantedCredentials = map[string]vendors.Placement{
	"a bearer": {Header: "Authorization", Value: "Bearer sk_live_51Hcanary4of7the9leaks", Secrets: []string{"sk_live_51Hcanary4of7the9leaks"}},
	"a password": {
		Header: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte("AC0123456789abcdef0123456789abcdef:fedc0a9876543210fedc0a9876543210")),
		Secrets: []string{"fedc0a9876543210fedc0a9876543210"},
	},
	"two headers": {
		Header: "X-Client", Value: "cl-1/ient+Secret~One", Also: []vendors.Param{{Name: "X-App", Value: `ap"p\%26&se<cret`}},
		Secrets: []string{"cl-1/ient+Secret~One", `ap"p\%26&se<cret`},
	},
}

// writings are ways in which a server can write what it was sent.
var writings = map[string]func(string) string{
	"as it is":            func(s string) string { return s },
	"upper case":          strings.ToUpper,
	"as a header's name":  http.CanonicalHeaderKey,
	"URL":                 url.QueryEscape,
	"URL path":            url.PathEscape,
	"URL, every byte":     func(s string) string { return each(s, "%%%02x") },
	"URL, twice":          func(s string) string { return url.QueryEscape(each(s, "%%%02X")) },
	"hex":                 func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":                 func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"hex with spaces":     func(s string) string { return each(s, "%02x ") },
	"hex with colons":     func(s string) string { return strings.TrimSuffix(each(s, "%02X:"), ":") },
	"numbers":             func(s string) string { return fmt.Sprint([]byte(s)) },
	"JSON numbers":        func(s string) string { return strings.ReplaceAll(fmt.Sprint([]byte(s)), " ", ", ") },
	"JSON":                quote,
	"JSON, every byte":    func(s string) string { return each(s, `\u%04x`) },
	"JSON in JSON":        func(s string) string { return quote(each(s, `\u%04X`)) },
	"Go":                  func(s string) string { return each(s, `\x%02x`) },
	"octal":               func(s string) string { return each(s, `\%03o`) },
	"HTML":                html.EscapeString,
	"HTML, decimal":       func(s string) string { return each(s, "&#%d;") },
	"HTML, hex":           func(s string) string { return each(s, "&#x%X;") },
	"HTML in HTML":        func(s string) string { return html.EscapeString(each(s, "&#%d;")) },
	"HTML by name":        func(s string) string { return strings.ReplaceAll(html.EscapeString(s), "_", "&lowbar;") },
	"base64":              func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, URL":         func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64, in a URL":    func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) },
	"base64, one before":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(":" + s + ";")) },
	"base64, two before":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("::" + s + ";")) },
	"base64 of a header":  func(s string) string { return base64.URLEncoding.EncodeToString([]byte("Authorization: Bearer " + s)) },
	"base64 of Basic":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte("AC01:" + s)) },
	"base64, in lines":    func(s string) string { return lines(base64.StdEncoding.EncodeToString([]byte("x"+s)), "\r\n") },
	"base64, JSON lines":  func(s string) string { return lines(base64.StdEncoding.EncodeToString([]byte(s)), `\n`) },
	"a line of a log":     func(s string) string { return fmt.Sprintf("%q", http.Header{"Authorization": {"Bearer " + s}}) },
	"bytes of a JSON API": func(s string) string { b, _ := json.Marshal([]byte(s)); return string(b) },
}

func each(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

func lines(s, end string) string {
	var b strings.Builder
	for len(s) > 20 {
		b.WriteString(s[:20] + end)
		s = s[20:]
	}
	return b.String() + s
}

// In no writing is a credential left in a text, and nothing beside it is lost.
func TestEveryWritingOfACredentialIsRemoved(t *testing.T) {
	for name, p := range plantedCredentials {
		secrets := map[string]string{"what is sent": bare(p.Value)}
		for i, s := range p.Secrets {
			secrets[fmt.Sprintf("secret %d", i)] = s
		}
		for which, secret := range secrets {
			for how, write := range writings {
				text := write(secret)
				got := scrub(p, "before "+text+" after")
				if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, scrubbed) {
					t.Errorf("%s, %s, %s: %q became %q", name, which, how, text, got)
				}
				for about := write(""); about != "" && text != "" && about[0] == text[0]; {
					about, text = about[1:], text[1:] // what stands there with any secret
				}
				// What base64 mixes with its neighbours is less than three bytes at either end.
				if n := longestCommon(text, got); n > 8 && n > len(text)/4 {
					t.Errorf("%s, %s, %s: of %q there is left %q", name, which, how, text, got)
				}
			}
		}
	}
}

// longestCommon is the length of the longest piece of text that is in got, beside what stands for the credential.
func longestCommon(text, got string) (most int) {
	got = strings.ReplaceAll(got, scrubbed, "\x00")
	for i := range text {
		for i+most < len(text) && strings.Contains(got, text[i:i+most+1]) {
			most++
		}
	}
	return most
}

// What only looks like a credential, or begins like one, stays as it is, and so does every reply without one.
func TestTextsWithoutACredentialStay(t *testing.T) {
	for name, p := range plantedCredentials {
		for _, text := range []string{
			"", "s", "sk_live_", "sk_live_51Hcanary4of7the9leak", "Bearer ", "fedc0a98", "AC0123456789abcdef0123456789abcdef", `{"id":"ch_1","path":"a\/b%20c&amp;d\u00e9"}`,
			strings.Repeat(`\`, 1000), strings.Repeat("%25", 1000), strings.Repeat("&amp;", 1000), strings.Repeat("7 ", 1000), "%", `\`, "&", `\u`, `\u00`, "%7", "&#", "&#;", `\u0073`,
		} {
			if got := scrub(p, text); got != text {
				t.Errorf("%s: %q became %q", name, text, got)
			}
		}
	}
}

// A reply that was cut off in the middle of a credential keeps no beginning of it.
func TestTheBeginningOfACredentialAtACutIsRemoved(t *testing.T) {
	p := plantedCredentials["a bearer"]
	secret := p.Secrets[0]
	for n := shortest / 2; n < len(secret); n++ {
		l := flight.Landing{Status: 200, Header: http.Header{}, Body: []byte("echo: " + secret[:n]), Cut: errTooLarge}
		if got := string(clean(p, l).Body); got != "echo: "+scrubbed {
			t.Errorf("cut after %d bytes: %q", n, got)
		}
		l.Cut = nil
		if got := string(clean(p, l).Body); got != "echo: "+secret[:n] {
			t.Errorf("a whole reply of %d bytes: %q", n, got)
		}
	}
}

// A reply in an encoding that the brake did not ask for can be read by nobody here, and by its receiver.
func TestACompressedReplyIsWithheld(t *testing.T) {
	p := plantedCredentials["a bearer"]
	for _, encoding := range []string{"gzip", "br", "deflate", "gzip, gzip", "identity, zstd", "x"} {
		l := clean(p, flight.Landing{Status: 200, Header: http.Header{"Content-Encoding": {encoding}}, Body: []byte("packed")})
		if l.Cut == nil || len(l.Body) != 0 || l.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %q, %v, %v", encoding, l.Body, l.Cut, l.Header)
		}
	}
	l := clean(p, flight.Landing{Status: 200, Header: http.Header{"Content-Encoding": {"identity"}}, Body: []byte("plain")})
	if l.Cut != nil || string(l.Body) != "plain" {
		t.Errorf("identity: %q, %v", l.Body, l.Cut)
	}
}

// A header is removed in its value, and with its name where that is the credential.
func TestHeadersAreCleaned(t *testing.T) {
	p := plantedCredentials["a bearer"]
	secret := p.Secrets[0]
	l := clean(p, flight.Landing{Header: http.Header{
		http.CanonicalHeaderKey(secret): {"1"}, "X-Id": {"1", "2"}, "Location": {"https://evil.example/?k=" + each(secret, "%%%02x")},
	}})
	if len(l.Header) != 2 || len(l.Header["X-Id"]) != 2 || l.Header.Get("Location") != "https://evil.example/?k="+scrubbed {
		t.Errorf("%q", l.Header)
	}
}

func BenchmarkClean(b *testing.B) {
	p := plantedCredentials["a password"]
	for name, body := range map[string][]byte{
		"2 KiB": bytes.Repeat([]byte(`{"id":"ch_1","url":"https:\/\/api.stripe.com\/v1","n":[1,2,3]},`), 32),
		"1 MiB": bytes.Repeat([]byte(`{"id":"ch_1","url":"https:\/\/api.stripe.com\/v1","n":[1,2,3]},`), 16384),
		"hex":   bytes.Repeat([]byte("fedc0a98fedc0a98\\\\\\\\%25%2566&amp;#102;"), 16384),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				clean(p, flight.Landing{Status: 200, Header: http.Header{"A": {"b"}, "C": {"d"}}, Body: body})
			}
		})
	}
}

// Writings are these, for the tests outside this package.
var Writings = writings
