package kbstripe

import "maps"

// rules are the bounds and settlements of the catalogue's rows, by name.
func rules() map[string]rule {
	all := map[string]rule{}
	for _, some := range []map[string]rule{refundRules, invoiceRules, moveRules, laterRules, v2Rules} {
		maps.Copy(all, some)
	}
	return all
}
