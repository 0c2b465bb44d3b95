package kbresend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// The tags by which a mail names its run and its call. An agent cannot set one that starts with ownTag.
const (
	ownTag  = "keybrake_"
	runTag  = ownTag + "run"
	callTag = ownTag + "call"
)

// The limits of tags (Resend's documentation, read November 2026).
const (
	maxTags     = 75  // of one mail
	maxTagValue = 256 // in bytes
)

// stamp adds the two tags to every mail of the call. A call that cannot carry them in every mail carries none: one whose
// mails have too many tags already, and one with an attachment as a list of 20,000 numbers or more, of which the
// tree has not kept all.
func stamp(c *vendors.Call, run, mark string) ([]vendors.Param, any) {
	own := []any{tag(runTag, run), tag(callTag, mark)}
	if _, whole := vendors.Size(c.JSON); !whole || slices.Contains(own, nil) {
		return nil, nil
	}
	batch, isBatch := c.JSON.([]any)
	if !isBatch {
		m := tagged(c.JSON, own)
		if m == nil {
			return nil, nil
		}
		return nil, m
	}
	body := make([]any, len(batch))
	for i, m := range batch {
		if body[i] = tagged(m, own); body[i] == nil {
			return nil, nil
		}
	}
	return nil, body
}

// tag is nil for a value that no tag can have.
func tag(name, value string) any {
	value = tagValue(value)
	if value == "" || len(value) > maxTagValue {
		return nil
	}
	return vendors.With(vendors.With(nil, "name", name), "value", value)
}

// tagged is a mail with further tags, or nil.
func tagged(m any, own []any) any {
	value, _ := vendors.Member(m, "tags")
	tags, isList := value.([]any)
	if value != nil && !isList || len(tags)+len(own) > maxTags {
		return nil
	}
	return vendors.With(m, "tags", slices.Concat(tags, own))
}

// tagValue writes s in the characters that a tag may have, ASCII letters, digits, _ and -. Every other byte is _xhh_, two
// hexadecimal digits: "run:7" is "run_x3a_7". An underscore of s's own that would begin such a word is written so as
// well, so that no two names become one.
func tagValue(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if plainByte(s[i]) && !(s[i] == '_' && beginsEscape(s[i+1:])) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "_x%02x_", s[i])
		}
	}
	return b.String()
}

func plainByte(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// beginsEscape reports whether rest, after an underscore, will be written such that the two look like an escape: whatever
// ends it, an underscore or a byte that becomes one.
func beginsEscape(rest string) bool {
	const hex = "0123456789abcdef"
	return len(rest) >= 4 && rest[0] == 'x' && strings.IndexByte(hex, rest[1]) >= 0 && strings.IndexByte(hex, rest[2]) >= 0 &&
		(rest[3] == '_' || !plainByte(rest[3]))
}

// checkTags refuses tags that only the brake sets: a mail that carries a call's mark is proof that the call was executed.
func checkTags(c *vendors.Call) error {
	for _, p := range c.Params {
		name := vendors.Collapse(p.Name)
		if name != "tags" && !strings.HasPrefix(name, "tags[") {
			continue
		}
		if isOwn(p.Value) && name != "tags[value]" || strings.Contains(strings.ToLower(name), ownTag) {
			return invalid("tags[name]", "names that start with %s are the brake's own; name the tag otherwise", ownTag)
		}
	}
	return nil
}

func isOwn(tagName string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(tagName)), ownTag)
}

// check refuses a validation mode that is neither of the two that Resend documents, since how many of the mails it
// would send is not known, and tags that are not the agent's to set.
func check(c *vendors.Call) error {
	switch c.Header.Get(batchValidation) {
	case "", "strict", "permissive":
		return checkTags(c)
	}
	return vendors.Refuse(reason.HeaderDenied, "%s is neither strict nor permissive", batchValidation)
}
