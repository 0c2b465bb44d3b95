package kbtwilio

import (
	"unicode"
	"unicode/utf16"
)

// A layout is the room in one segment, in septets of GSM-7 or UTF-16 code units of UCS-2: alone, and as a part of
// several, where each part gives room to the header that joins them (GSM 03.38).
type layout struct{ gsm, gsmPart, ucs2, ucs2Part int }

var (
	// calculator is the layout of Twilio's own calculator.
	calculator = layout{gsm: 160, gsmPart: 153, ucs2: 70, ucs2Part: 67}

	// tollFree is the layout of parts from United States and Canada toll-free numbers (third party, read 2026-11).
	// Bounds use it for all senders: which one a Messaging Service chooses is not known.
	tollFree = layout{gsm: 160, gsmPart: 152, ucs2: 70, ucs2Part: 66}
)

// Segments returns how many segments Twilio's calculator counts for body (TwilioDevEd/message-segment-calculator),
// which is what a text from a long code is billed as. The empty body is one segment.
func Segments(body string) int { return calculator.count(widths(body, isGSM(body)), isGSM(body)) }

// mostSegments is how many segments body can be at most, to a number in country. It is never below [Segments]:
// parts are taken as small as they get, and where characters are made of several, as flags and families are, it
// takes each part to be short by the longest of them, so that it holds for every way of telling them apart.
func mostSegments(body, country string) int {
	gsm := isGSM(body) && (country != "MY" || isASCII(body))
	atoms := widths(body, gsm)
	n := tollFree.count(atoms, gsm)
	if total, longest := measure(atoms); !gsm && longest > 2 && total > tollFree.ucs2 {
		room := max(1, tollFree.ucs2Part-longest+1)
		n = max(n, (total+room-1)/room)
	}
	return n
}

// count fills parts in order. An atom is never split between two parts, so that dividing the total would
// undercount: 152 letters, a euro sign and 152 letters need three parts, not two.
func (l layout) count(atoms []int, gsm bool) int {
	single, part := l.ucs2, l.ucs2Part
	if gsm {
		single, part = l.gsm, l.gsmPart
	}
	if total, _ := measure(atoms); total <= single {
		return 1
	}
	parts, used := 1, 0
	for _, w := range atoms {
		if used+w > part {
			parts, used = parts+1, 0
		}
		used += w
	}
	return parts
}

func measure(atoms []int) (total, longest int) {
	for _, w := range atoms {
		total, longest = total+w, max(longest, w)
	}
	return total, longest
}

// widths are the widths of what is never split: characters in GSM-7, and in UCS-2 what a reader sees as one
// character, which the calculator keeps whole.
func widths(body string, gsm bool) []int {
	atoms := make([]int, 0, len(body))
	var last rune
	regional := 0 // how many flag letters stand before this one: each two make a flag
	for i, r := range body {
		if gsm {
			atoms = append(atoms, gsm7[r])
			continue
		}
		if i > 0 && joins(last, r, regional) {
			atoms[len(atoms)-1] += codeUnits(r)
		} else {
			atoms = append(atoms, codeUnits(r))
		}
		if last = r; unicode.Is(unicode.Regional_Indicator, r) {
			regional++
		} else {
			regional = 0
		}
	}
	return atoms
}

// joins reports whether r continues the visible character that last is part of, by the rules of Unicode's annex 29
// as far as the standard library's tables go; where they end it joins rather than splits, and [mostSegments] is safe
// either way.
func joins(last, r rune, regional int) bool {
	switch {
	case unicode.IsControl(last):
		return false // the calculator splits \r\n too
	case unicode.In(r, unicode.M, unicode.Join_Control, unicode.Other_Grapheme_Extend, unicode.Variation_Selector):
		return true
	case r == 0x0e33 || r == 0x0eb3: // Thai and Lao am, which are letters to the tables and marks to the annex
		return true
	case r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f: // skin tones, tags of a flag
		return true
	case last == 0x200d: // zero-width joiner, before another picture
		return unicode.Is(unicode.So, r)
	case unicode.Is(unicode.Regional_Indicator, r):
		return regional%2 == 1
	}
	return unicode.Is(unicode.Prepended_Concatenation_Mark, last) || joinsHangul(last, r)
}

// joinsHangul joins the letters of a Korean syllable.
func joinsHangul(last, r rune) bool {
	lead := last >= 0x1100 && last <= 0x115f || last >= 0xa960 && last <= 0xa97c
	vowel := r >= 0x1160 && r <= 0x11a7 || r >= 0xd7b0 && r <= 0xd7c6
	tail := r >= 0x11a8 && r <= 0x11ff || r >= 0xd7cb && r <= 0xd7fb
	syllable := r >= 0xac00 && r <= 0xd7a3
	inside := last >= 0x1160 && last <= 0x11ff || last >= 0xac00 && last <= 0xd7fb
	return lead && (vowel || syllable || r >= 0x1100 && r <= 0x115f) || inside && (vowel || tail)
}

// codeUnits is the width of r in UTF-16: 2 for what needs a surrogate pair. A byte that is not UTF-8 counts as one;
// a form that holds one has been refused before.
func codeUnits(r rune) int { return max(1, utf16.RuneLen(r)) }

// isGSM reports whether every character of body is in the GSM-7 alphabet. One that is not switches all to UCS-2.
func isGSM(body string) bool {
	for _, r := range body {
		if gsm7[r] == 0 {
			return false
		}
	}
	return true
}

// isASCII reports whether body is in what Malaysian carriers take as GSM-7. The rest goes there as UCS-2, says the
// calculator's source (UnicodeToGsmMY, newer than its release 1.3.0).
func isASCII(body string) bool {
	for i := range len(body) {
		if body[i] > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// The GSM 03.38 alphabet and its extension table, whose characters take two septets, as Twilio has them: upper-case Ç
// and no ç, no backtick, no tab.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

// gsm7 is the width of each character in septets; the others are 0.
var gsm7 = func() map[rune]int {
	table := map[rune]int{}
	for _, r := range gsmBasic {
		table[r] = 1
	}
	for _, r := range gsmExtension {
		table[r] = 2
	}
	return table
}()
