package kbtwilio

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
)

// A counted body is a line of testdata/segments.jsonl: a body as pieces and how often each stands, and what Twilio's
// own calculator says (npm sms-segments-calculator v1.3.0, run 2026-11).
type counted struct {
	Body     [][2]any
	Segments int
}

func (c counted) text() string {
	var b strings.Builder
	for _, piece := range c.Body {
		b.WriteString(strings.Repeat(piece[0].(string), int(piece[1].(float64))))
	}
	return b.String()
}

func golden(t testing.TB) (all []counted) {
	t.Helper()
	f, err := os.Open("testdata/segments.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var c counted
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) < 100 {
		t.Fatalf("read %d bodies", len(all))
	}
	return all
}

func TestSegmentsAgreeWithTwiliosCalculator(t *testing.T) {
	for _, c := range golden(t) {
		body := c.text()
		if got := Segments(body); got != c.Segments {
			t.Errorf("%v: got %d segments, the calculator counts %d", c.Body, got, c.Segments)
		}
		if got := mostSegments(body, "US"); got < c.Segments {
			t.Errorf("%v: bound of %d is below the calculator's %d", c.Body, got, c.Segments)
		}
	}
}

func TestMostSegmentsTakesSmallParts(t *testing.T) {
	for _, c := range []struct {
		body, country string
		want          int
	}{
		{"", "US", 1}, {strings.Repeat("a", 160), "US", 1}, {strings.Repeat("a", 304), "US", 2}, {strings.Repeat("a", 305), "US", 3},
		{strings.Repeat("я", 70), "US", 1}, {strings.Repeat("я", 132), "US", 2}, {strings.Repeat("я", 133), "US", 3},
		{strings.Repeat("😀", 800), "US", 25}, {strings.Repeat("👨‍👩‍👧‍👦", 6), "US", 1}, {strings.Repeat("👨‍👩‍👧‍👦", 11), "US", 3},
		{strings.Repeat("é", 160), "US", 1}, {strings.Repeat("é", 160), "MY", 3}, {strings.Repeat("a", 160), "MY", 1},
	} {
		if got := mostSegments(c.body, c.country); got != c.want {
			t.Errorf("%d bytes of %.8q: got %d, want %d", len(c.body), c.body, got, c.want)
		}
	}
}

// FuzzSegments compares the counter with one that shares nothing with it: it writes every way of the message's
// characters as a list of slots and cuts greedily. Bodies with characters that combine are left to the laws that
// hold for all bodies.
func FuzzSegments(f *testing.F) {
	for _, c := range golden(f)[:40] {
		f.Add(c.text())
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 4000 {
			return
		}
		got, most := Segments(body), mostSegments(body, "US")
		if got < 1 || most < got || mostSegments(body, "MY") < most {
			t.Fatalf("%q: %d segments, at most %d, to Malaysia %d", body, got, most, mostSegments(body, "MY"))
		}
		if slow := slowSegments(body, 153, 67); !combines(body) && got != slow {
			t.Fatalf("%q: got %d, the slow count is %d", body, got, slow)
		}
		if slow := slowSegments(body, 152, 66); most < slow {
			t.Fatalf("%q: bound %d is below the slow count %d of toll-free parts", body, most, slow)
		}
	})
}

// combines reports whether body holds a character above Latin, Greek and Cyrillic that may join its neighbour; wide
// on purpose.
func combines(body string) bool {
	for _, r := range body {
		plain := r < 0x300 || r >= 0x370 && r < 0x483 || r >= 0x4e00 && r < 0xa000 || r >= 0x1f600 && r < 0x1f650
		if !plain || r == 0xad {
			return true
		}
	}
	return false
}

// slowSegments cuts body one character at a time, each given as the units that it takes.
func slowSegments(body string, gsmPart, ucsPart int) int {
	const table = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	var septets, units []string
	gsm := true
	for _, r := range body {
		units = append(units, strings.Repeat("u", len(utf16.Encode([]rune{r}))))
		switch {
		case strings.ContainsRune(table, r):
			septets = append(septets, "s")
		case strings.ContainsRune("\f^{}\\[~]|€", r):
			septets = append(septets, "ss")
		default:
			gsm = false
		}
	}
	whole, part, chars := 160, gsmPart, septets
	if !gsm {
		whole, part, chars = 70, ucsPart, units
	}
	if len(strings.Join(chars, "")) <= whole {
		return 1
	}
	var parts []string
	for current := ""; ; {
		if len(chars) == 0 {
			return len(append(parts, current))
		}
		if len(current+chars[0]) > part {
			parts, current = append(parts, current), ""
		}
		current, chars = current+chars[0], chars[1:]
	}
}
