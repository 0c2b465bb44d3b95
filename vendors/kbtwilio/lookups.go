package kbtwilio

import (
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// A lookup is a GET that costs: the sum of the packages that it asks for. Without any it is free.

// boundLookup prices the packages of Fields.
func (t tariff) boundLookup(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	b := bill{tariff: t}
	if fields, _ := c.Get("Fields"); fields != "" {
		for field := range strings.SplitSeq(fields, ",") {
			b.pack(field)
		}
	}
	return b.bound(lookedUp(c.IDs["PhoneNumber"], c))
}

// boundLookupV1 knows no price of the older API's packages.
func (t tariff) boundLookupV1(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	b := bill{tariff: t}
	if c.Has("Type") || c.Has("AddOns") || c.Has("AddOnsData") {
		b.add(0, 0, "Type and AddOns: the rate card has no price for packages of the older API; use the newer, or give the rule a ceiling")
	}
	return b.bound(lookedUp(c.IDs["PhoneNumber"], c))
}

// boundLookups prices a batch: the packages of each number.
func (t tariff) boundLookups(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	numbers, _ := vendors.Member(c.JSON, "phone_numbers")
	list, ok := numbers.([]any)
	if !ok || len(list) == 0 {
		return vendors.Bound{}, invalid("phone_numbers", "give an array of one number or more")
	}
	b := bill{tariff: t}
	for _, n := range list {
		fields, sent := vendors.Member(n, "fields")
		packs, ok := fields.([]any)
		if sent && !ok {
			return vendors.Bound{}, invalid("phone_numbers[fields]", "give an array of packages")
		}
		for _, p := range packs {
			name, ok := p.(string)
			if !ok {
				return vendors.Bound{}, invalid("phone_numbers[fields]", "give an array of packages")
			}
			b.pack(name)
		}
	}
	return b.bound("?", unknownCountry)
}

// pack puts a package on the bill. A name that is not plain has no price.
func (b *bill) pack(name string) {
	name = strings.TrimSpace(name)
	if !knownFee("lookup." + name) {
		b.add(0, 0, "Fields: a package's name is not a word; ask for packages that the rate card has")
		return
	}
	b.use(1, "lookup."+name)
}

// lookedUp is the number that is asked about. Nothing is sent to it.
func lookedUp(digits string, c *vendors.Call) (to, country string) {
	if number := "+" + digits; strings.HasSuffix(c.Path, "/"+number) && e164.MatchString(number) {
		return number, countryOf(number)
	}
	return "?", unknownCountry
}
