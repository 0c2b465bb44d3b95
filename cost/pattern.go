package cost

import (
	"fmt"
	"strings"
)

// A Pattern names the operations that a rule or a budget means: one operation by its full name
// ("stripe.refunds.create"), or all below a dotted prefix ("stripe.refunds.*", "stripe.*"). The empty Pattern
// matches nothing; there is no other wildcard, so that a reader sees at a glance what is meant.
type Pattern string

// Match reports whether p names operation.
func (p Pattern) Match(operation string) bool {
	if prefix, ok := strings.CutSuffix(string(p), ".*"); ok {
		return prefix != "" && strings.HasPrefix(operation, prefix+".")
	}
	return p != "" && string(p) == operation
}

// Valid reports what is wrong with the form of p, if anything.
func (p Pattern) Valid() error {
	name := strings.TrimSuffix(string(p), ".*")
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return fmt.Errorf("%q is not an operation such as stripe.refunds.create or a prefix such as stripe.refunds.*", string(p))
		}
	}
	return nil
}

// MatchAny reports whether one of patterns names operation. No patterns at all means every operation: that is
// what a budget without a filter counts.
func MatchAny(patterns []Pattern, operation string) bool {
	for _, p := range patterns {
		if p.Match(operation) {
			return true
		}
	}
	return len(patterns) == 0
}
