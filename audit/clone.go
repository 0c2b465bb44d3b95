package audit

import "slices"

// Clone is a copy of r that shares nothing with it: for sinks that keep records when Write has returned.
func (r Record) Clone() Record {
	r.Labels = slices.Clone(r.Labels)
	r.Parents = slices.Clone(r.Parents)
	r.Reasons = slices.Clone(r.Reasons)
	r.Rules = slices.Clone(r.Rules)
	r.Reserved = slices.Clone(r.Reserved)
	r.Actual = slices.Clone(r.Actual)
	r.Held = slices.Clone(r.Held)
	r.Rates = slices.Clone(r.Rates)
	r.Budgets = slices.Clone(r.Budgets)
	r.Objects = slices.Clone(r.Objects)
	r.Recipients = slices.Clone(r.Recipients)
	if r.Chain != nil {
		link := *r.Chain
		r.Chain = &link
	}
	return r
}
