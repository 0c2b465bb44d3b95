package fakevendor

import "slices"

// page cuts all, newest first, down to limit objects after or before the one
// with that id. found is false where that id is not in the list.
func page(all []object, limit int, after, before string) (cut []object, more, found bool) {
	at := func(id string) int {
		return slices.IndexFunc(all, func(o object) bool { return o.str("id") == id })
	}
	if before != "" {
		end := at(before)
		start := max(0, end-limit)
		return all[start:max(end, 0)], start > 0, end >= 0
	}
	start := 0
	if after != "" {
		if start = at(after) + 1; start == 0 {
			return nil, false, false
		}
	}
	end := min(start+limit, len(all))
	return all[start:end], end < len(all), true
}
