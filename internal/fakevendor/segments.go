package fakevendor

import (
	"strings"
	"unicode/utf16"
)

// The GSM 03.38 basic set, as Twilio's calculator has it (Twilio's documentation, read November 2026):
// capital Ç and not ç, no backtick, no tab. The extension costs two septets.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "^{}\\[]~|€\f"
)

// segments is in how many SMS body is sent and billed: 160 septets alone or 153
// in each of several, and where one character is not GSM-7, 70 or 67 UTF-16
// units. A character is never split between two of them.
func segments(body string) int64 {
	widths, alone, each := septets(body), 160, 153
	if widths == nil {
		widths, alone, each = units(body), 70, 67
	}
	total := 0
	for _, w := range widths {
		total += w
	}
	if total <= alone {
		return 1
	}
	count, room := int64(1), each
	for _, w := range widths {
		if w > room {
			count, room = count+1, each
		}
		room -= w
	}
	return count
}

// septets are the widths of body's characters in GSM-7, nil if one is not in it.
func septets(body string) []int {
	widths := make([]int, 0, len(body))
	for _, r := range body {
		switch {
		case strings.ContainsRune(gsmBasic, r):
			widths = append(widths, 1)
		case strings.ContainsRune(gsmExtension, r):
			widths = append(widths, 2)
		default:
			return nil
		}
	}
	return widths
}

// units are the widths of body's characters in UTF-16.
func units(body string) []int {
	var widths []int
	for _, r := range body {
		widths = append(widths, max(1, utf16.RuneLen(r)))
	}
	return widths
}
