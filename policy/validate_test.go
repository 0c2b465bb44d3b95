package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
)

func rule(change func(*policy.Rule)) policy.Policy {
	r := policy.Rule{Operation: refunds}
	change(&r)
	return policy.Policy{Allow: rules{r}}
}

func param(name string, m policy.Match) policy.Policy {
	return rule(func(r *policy.Rule) { r.Params = policy.Params{name: m} })
}

func recipients(to ...string) policy.Policy {
	return rule(func(r *policy.Rule) { r.Recipients = to })
}

func budget(change func(*policy.Budget)) policy.Policy {
	b := policy.Lifetime(policy.USD("80"))
	change(&b)
	return policy.Policy{Budgets: []policy.Budget{b}}
}

func budgets(b ...policy.Budget) policy.Policy { return policy.Policy{Budgets: b} }

// Each policy has the mistakes named and no other.
func TestValidate(t *testing.T) {
	const empty = "an empty list would be no limit at all; name at least one, or leave the field out"
	const notParam = "is not a parameter's name such as reason, metadata[order] or metadata[*]"
	const notName = "is not a name of 1 to 64 of the characters A-Z a-z 0-9 : . _ -"
	const rowDecides = `the ledger's row of "team" decides this; leave it out, or write a limit beside it`
	usd80 := policy.Lifetime(policy.USD("80"))
	for name, tt := range map[string]struct {
		p    policy.Policy
		want string
	}{
		"the zero policy":     {policy.Policy{}, ""},
		"budgets alone":       {budgets(usd80, policy.Daily(policy.Calls(150)).In("Europe/Berlin")), ""},
		"an empty allow list": {policy.Policy{Allow: rules{}}, ""},

		"the zero rule":     {policy.Policy{Allow: rules{{}}}, `allow[0].operation: unset, so it matches nothing; name an operation such as stripe.refunds.create`},
		"upper case":        {policy.Policy{Allow: rules{{Operation: "Stripe.*"}}}, `allow[0].operation: "Stripe.*" is not an operation such as stripe.refunds.create or a prefix such as stripe.refunds.*`},
		"everything":        {policy.Policy{Allow: rules{{Operation: "*"}}}, `allow[0].operation: "*" is not an operation such as stripe.refunds.create or a prefix such as stripe.refunds.*`},
		"a star in between": {policy.Policy{Allow: rules{{Operation: "stripe.*.create"}}}, `allow[0].operation: "stripe.*.create" is not an operation such as stripe.refunds.create or a prefix such as stripe.refunds.*`},
		"a vendor alone":    {policy.Policy{Allow: rules{{Operation: "stripe"}}}, `allow[0].operation: "stripe" is a vendor and matches nothing; write stripe.* for all of its operations`},
		"all of a vendor":   {policy.Policy{Allow: rules{{Operation: "stripe.*"}}}, ""},
		"the path has an index": {policy.Policy{Allow: rules{{Operation: refunds}, {Operation: refunds}, {Operation: refunds, MaxPerCall: policy.USD("5O")}}},
			`allow[2].max_per_call: "5O" is not a decimal number such as 50 or 0.0083`},

		"max_per_call in calls":       {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Calls(3) }), `allow[0].max_per_call: "3 calls" makes no sense for one call; write money or units`},
		"max_per_call of no currency": {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Money("5", "usd") }), `allow[0].max_per_call: "usd" is not a currency code such as USD`},
		"max_per_call out of range":   {rule(func(r *policy.Rule) { r.MaxPerCall = policy.USD("9007199254.740992") }), `allow[0].max_per_call: amount out of range`},
		"max_per_call below zero":     {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Units(-1) }), `allow[0].max_per_call: amount out of range`},
		"an amount by hand":           {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Amount{Value: 5, Currency: "USD"} }), ""},
		"an amount of nothing":        {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Amount{Value: 5} }), `allow[0].max_per_call: the amount has no currency; make it with USD, Money, Calls or Units`},
		"an amount of both":           {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Amount{Currency: "USD", Meter: cost.Units} }), `allow[0].max_per_call: an amount is money or a count, not both USD and units`},
		"an amount below zero":        {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Amount{Value: -1, Currency: "USD"} }), `allow[0].max_per_call: amount out of range`},
		"an amount above the range":   {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Amount{Value: cost.Max + 1, Currency: "USD"} }), `allow[0].max_per_call: amount out of range`},
		"an amount of no currency":    {rule(func(r *policy.Rule) { r.MaxPerCall = policy.Amount{Currency: "Usd"} }), `allow[0].max_per_call: "Usd" is not a currency code such as USD`},
		"a ceiling":                   {rule(func(r *policy.Rule) { r.Ceiling = policy.USD("5") }), ""},
		"a ceiling in calls":          {rule(func(r *policy.Rule) { r.Ceiling = policy.Calls(3) }), `allow[0].ceiling: "3 calls" makes no sense for one call; write money or units`},
		"a ceiling at the limit":      {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.USD("5"), policy.USD("5") }), ""},
		"a ceiling above the limit":   {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.USD("6"), policy.USD("5") }), `allow[0].ceiling: 6.00 USD can never be within max_per_call, 5.00 USD`},
		"units above units":           {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.Units(6), policy.Units(5) }), `allow[0].ceiling: 6 units can never be within max_per_call, 5 units`},
		"units beside money":          {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.Units(6), policy.USD("0.000005") }), ""},
		"another currency":            {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.Money("1", "EUR"), policy.USD("5") }), `allow[0].ceiling: 1.00 EUR can never be within max_per_call, which is in USD`},
		"both amounts wrong": {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.USD("x"), policy.USD("y") }),
			"allow[0].max_per_call: \"y\" is not a decimal number such as 50 or 0.0083\nallow[0].ceiling: \"x\" is not a decimal number such as 50 or 0.0083"},

		"money beside units":                        {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.USD("6"), policy.Units(5) }), ""},
		"a ceiling and a limit that does not parse": {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.USD("6"), policy.USD("5O") }), `allow[0].max_per_call: "5O" is not a decimal number such as 50 or 0.0083`},
		"a limit and a ceiling out of range":        {rule(func(r *policy.Rule) { r.Ceiling, r.MaxPerCall = policy.Units(cost.Max+1), policy.Units(5) }), `allow[0].ceiling: amount out of range`},
		"two errors in one amount":                  {rule(func(r *policy.Rule) { r.Ceiling = policy.Money("5O", "usd") }), `allow[0].ceiling: "5O" is not a decimal number such as 50 or 0.0083`},

		"parameter names": {rule(func(r *policy.Rule) {
			r.Params = policy.Params{"To": policy.Any(), "a.b-c_d": policy.Any(), "m[x y]": policy.Any(), "m[*]": policy.Any(), "m[a][*]": policy.Any(), "Stripe-Account": policy.Any(), "$x": policy.Any()}
		}), ""},
		"a list position":          {param("to[0]", policy.Any()), `allow[0].params["to[0]"]: "to[0]" has a list position; write it without, it means every element`},
		"an empty position":        {param("expand[]", policy.Any()), `allow[0].params["expand[]"]: "expand[]" has a list position; write it without, it means every element`},
		"no name":                  {param("", policy.Any()), `allow[0].params[""]: "" ` + notParam},
		"a star as a name":         {param("*", policy.Any()), `allow[0].params["*"]: "*" ` + notParam},
		"a star in the middle":     {param("a[*][b]", policy.Any()), `allow[0].params["a[*][b]"]: "a[*][b]" ` + notParam},
		"all of nothing":           {param("[*]", policy.Any()), `allow[0].params["[*]"]: "[*]" ` + notParam},
		"an open bracket":          {param("a[b", policy.Any()), `allow[0].params["a[b"]: "a[b" ` + notParam},
		"a control character":      {param("a[\n]", policy.Any()), `allow[0].params["a[\n]"]: "a[\n]" ` + notParam},
		"a damaged name":           {param("a[\xff]", policy.Any()), `allow[0].params["a[\xff]"]: "a[\xff]" ` + notParam},
		"a name without end":       {param(strings.Repeat("a", 257), policy.Any()), `allow[0].params.` + strings.Repeat("a", 257) + `: "` + strings.Repeat("a", 257) + `" ` + notParam},
		"the longest name":         {param(strings.Repeat("a", 256), policy.Any()), ""},
		"the zero test":            {param("reason", policy.Match{}), `allow[0].params.reason: it has no condition, so it matches nothing; use any, one_of, prefix or max, or optional to forbid the parameter`},
		"a forbidden parameter":    {param("reason", policy.Match{}.OrAbsent()), ""},
		"any and more":             {param("reason", policy.Match{Any: true, Prefix: "a"}), `allow[0].params.reason: any allows every value, so the other conditions would be ignored; drop one or the other`},
		"any and a list":           {param("reason", policy.Match{Any: true, OneOf: []string{"b"}}), `allow[0].params.reason: any allows every value, so the other conditions would be ignored; drop one or the other`},
		"any and a maximum":        {param("reason", policy.Match{Any: true, Max: "1"}), `allow[0].params.reason: any allows every value, so the other conditions would be ignored; drop one or the other`},
		"an empty one_of":          {param("reason", policy.Match{OneOf: []string{}, Prefix: "a"}), "allow[0].params.reason.one_of: " + empty},
		"one_of nothing":           {param("reason", policy.Match{OneOf: []string{}}), "allow[0].params.reason.one_of: " + empty},
		"an empty value":           {param("reason", policy.OneOf("")), ""},
		"a damaged value":          {param("reason", policy.OneOf("a", "b\xff")), `allow[0].params.reason.one_of[1]: "b\xff" is not whole UTF-8 text`},
		"a value that was damaged": {param("reason", policy.OneOf("\ufffd")), `allow[0].params.reason.one_of[0]: "�" is not whole UTF-8 text`},
		"a damaged prefix":         {param("reason", policy.Prefix("\xff")), `allow[0].params.reason.prefix: "\xff" is not whole UTF-8 text`},
		"a value against prefix":   {param("reason", policy.Match{OneOf: []string{"ab", "cd"}, Prefix: "a"}), `allow[0].params.reason.one_of[1]: "cd" can never pass, because of prefix or max beside it`},
		"a value against max":      {param("reason", policy.Match{OneOf: []string{"5", "6"}, Max: "5"}), `allow[0].params.reason.one_of[1]: "6" can never pass, because of prefix or max beside it`},
		"max":                      {param("amount", policy.Max("2000")), ""},
		"max of no number":         {param("amount", policy.Max("2O00")), `allow[0].params.amount.max: "2O00" is not a whole number`},
		"max of nothing":           {param("amount", policy.Max("")), `allow[0].params.amount.max: "" is not a whole number`},
		"max by hand":              {param("amount", policy.Match{Max: "-1"}), `allow[0].params.amount.max: "-1" is not a whole number`},
		"max with a prefix":        {param("amount", policy.Match{Max: "100", Prefix: "1"}), ""},
		"max against prefix":       {param("amount", policy.Match{Max: "100", Prefix: "a"}), `allow[0].params.amount.max: no whole number starts with the prefix beside it`},

		"no countries":         {rule(func(r *policy.Rule) { r.Countries = []string{} }), "allow[0].countries: " + empty},
		"a lower-case country": {rule(func(r *policy.Rule) { r.Countries = []string{"US", "ca"} }), `allow[0].countries[1]: "ca" is not an ISO 3166 country code of two upper-case letters`},
		"a country of three":   {rule(func(r *policy.Rule) { r.Countries = []string{"USA"} }), `allow[0].countries[0]: "USA" is not an ISO 3166 country code of two upper-case letters`},

		"recipients":            {recipients("+14155550100", "+1415*", "+*", "a@acme.com", "*@acme.com", "*.acme.com", "whatsapp:+49*", "ü@example.org"), ""},
		"no recipients":         {recipients(), ""},
		"an empty list of them": {rule(func(r *policy.Rule) { r.Recipients = []string{} }), "allow[0].recipients: " + empty},
		"an empty recipient":    {recipients(""), `allow[0].recipients[0]: an empty recipient matches nothing`},
		"a lone star":           {recipients("+1*", "*"), `allow[0].recipients[1]: a lone star is refused; leave recipients out to allow everybody`},
		"two stars":             {recipients("*@acme.*"), `allow[0].recipients[0]: "*@acme.*" has a star that is not its only one at one end`},
		"stars alone":           {recipients("**"), `allow[0].recipients[0]: "**" has a star that is not its only one at one end`},
		"a star inside":         {recipients("a*@acme.com"), `allow[0].recipients[0]: "a*@acme.com" has a star that is not its only one at one end`},
		"a display name":        {recipients("Ann <a@acme.com>"), `allow[0].recipients[0]: "Ann <a@acme.com>" has a space or a character that is not printable; write the bare address`},
		"an escape":             {recipients("a\x1b@acme.com"), `allow[0].recipients[0]: "a\x1b@acme.com" has a space or a character that is not printable; write the bare address`},
		"a damaged recipient":   {recipients("a\xff"), `allow[0].recipients[0]: "a\xff" has a space or a character that is not printable; write the bare address`},
		"look-alikes":           {recipients("*acme.com"), `allow[0].recipients[0]: "*acme.com" would match look-alikes of acme.com; write *@acme.com`},
		"an open domain":        {recipients("a@acme*"), `allow[0].recipients[0]: "a@acme*" leaves the domain open; write the whole address, or *@ and the domain`},

		"no limit":                {budgets(policy.Budget{Window: cost.Day}), `budgets[0].limit: unset; write an amount such as "80 USD" or "150 calls"`},
		"a meter without a limit": {budgets(policy.Budget{Window: cost.Day, Meter: cost.Fee}), `budgets[0].limit: unset; write an amount such as "80 USD" or "150 calls"`},
		"a limit of zero":         {budgets(policy.Lifetime(policy.USD("0"))), ""},
		"a wrong limit":           {budgets(policy.Lifetime(policy.USD("8O"))), `budgets[0].limit: "8O" is not a decimal number such as 50 or 0.0083`},
		"no window":               {budget(func(b *policy.Budget) { b.Window = "" }), `budgets[0].window: "" is not lifetime, hour, day, month or a rolling span such as "rolling 24h"`},
		"another window":          {budget(func(b *policy.Budget) { b.Window = "week" }), `budgets[0].window: "week" is not lifetime, hour, day, month or a rolling span such as "rolling 24h"`},
		"a meter":                 {budgets(usd80.On(cost.Fee)), ""},
		"spend by name":           {budgets(usd80.On(cost.Spend)), ""},
		"no meter of money":       {budgets(usd80.On(cost.Calls)), `budgets[0].meter: "calls" is not charge, outflow, fee or spend`},
		"a meter on a count":      {budgets(policy.Lifetime(policy.Calls(3)).On(cost.Charge)), `budgets[0].meter: a limit in calls counts those already; leave the meter out`},
		"no zone of this name":    {budgets(usd80.In("Europe/Atlantis")), `budgets[0].zone: unknown time zone Europe/Atlantis`},
		"the local zone":          {budgets(usd80.In("Local")), `budgets[0].zone: zone "Local" differs from machine to machine; name it, such as Europe/Berlin`},
		"no operations":           {budget(func(b *policy.Budget) { b.Only = []cost.Pattern{} }), "budgets[0].only: " + empty},
		"a wrong operation":       {budgets(usd80.For("stripe.*", "")), `budgets[0].only[1]: unset, so it matches nothing; name an operation such as stripe.refunds.create`},
		"a name":                  {budget(func(b *policy.Budget) { b.Name = strings.Repeat("aZ9:._-x", 8) }), ""},
		"a name too long":         {budget(func(b *policy.Budget) { b.Name = strings.Repeat("a", 65) }), `budgets[0].name: "` + strings.Repeat("a", 65) + `" ` + notName},
		"a name with a space":     {budget(func(b *policy.Budget) { b.Name = "my budget" }), `budgets[0].name: "my budget" ` + notName},
		"a scope":                 {budgets(usd80.Shared("team:support")), ""},
		"a scope alone":           {budgets(policy.Scoped("team:support")), ""},
		"a scope with a name":     {budget(func(b *policy.Budget) { *b = policy.Budget{Name: "support", Scope: "team"} }), ""},
		"a scope with a meter":    {budgets(policy.Scoped("team").On(cost.Fee)), `budgets[0].meter: ` + rowDecides},
		"a scope with a window":   {budgets(policy.Budget{Scope: "team", Window: cost.Day}), `budgets[0].window: ` + rowDecides},
		"a scope with a zone":     {budgets(policy.Scoped("team").In("UTC")), `budgets[0].zone: ` + rowDecides},
		"a scope with a filter":   {budgets(policy.Scoped("team").For("stripe.*")), `budgets[0].only: ` + rowDecides},
		"a scope with no filter":  {budgets(policy.Budget{Scope: "team", Only: []cost.Pattern{}}), `budgets[0].only: ` + rowDecides},
		"a scope lowered to zero": {budgets(policy.Lifetime(policy.USD("0")).Shared("team")), ""},
		"a scope with a limit":    {budgets(policy.Budget{Scope: "team", Limit: policy.USD("5")}), `budgets[0].window: "" is not lifetime, hour, day, month or a rolling span such as "rolling 24h"`},
		"a scope, a wrong limit":  {budgets(policy.Lifetime(policy.USD("5O")).Shared("team")), `budgets[0].limit: "5O" is not a decimal number such as 50 or 0.0083`},
		"a scope of no name":      {budgets(policy.Scoped("")), "budgets[0].limit: unset; write an amount such as \"80 USD\" or \"150 calls\"\nbudgets[0].window: \"\" is not lifetime, hour, day, month or a rolling span such as \"rolling 24h\""},
		"one scope twice, bare":   {budgets(policy.Scoped("team"), policy.Daily(policy.USD("5")).Shared("team")), `budgets[1].scope: "team" is the scope of budgets[0] already`},
		"a scope with a star":     {budgets(usd80.Shared("team:*")), `budgets[0].scope: "team:*" ` + notName},

		"a rolling window":           {budgets(policy.Rolling(36*time.Hour, policy.USD("5"))), ""},
		"a rolling window, written":  {budget(func(b *policy.Budget) { b.Window = "rolling 1440m" }), `budgets[0].window: "rolling 1440m" is not lifetime, hour, day, month or a rolling span such as "rolling 24h"`},
		"a rolling window too long":  {budgets(policy.Rolling(401*24*time.Hour, policy.USD("5"))), `budgets[0].window: "rolling 9624h" is not lifetime, hour, day, month or a rolling span such as "rolling 24h"`},
		"a rolling window in a zone": {budgets(policy.Rolling(time.Hour, policy.USD("5")).In("Europe/Berlin")), `budgets[0].zone: a rolling window has no time zone; leave it out`},
		"alerts":                     {budgets(usd80.Alert(1, 50, 100)), ""},
		"an alert above the limit":   {budgets(usd80.Alert(50, 101)), `budgets[0].alert_at[1]: "101%" is not a share of the limit from "1%" to "100%"`},
		"an alert as a number":       {budget(func(b *policy.Budget) { b.AlertAt = []policy.Percent{"80"} }), `budgets[0].alert_at[0]: "80" is not a share of the limit from "1%" to "100%"`},
		"an alert twice":             {budgets(usd80.Alert(50, 50)), `budgets[0].alert_at[1]: "50%" stands twice`},
		"no alerts":                  {budget(func(b *policy.Budget) { b.AlertAt = []policy.Percent{} }), "budgets[0].alert_at: " + empty},
		"a scope with an alert":      {budgets(policy.Scoped("team").Alert(80)), `budgets[0].alert_at: ` + rowDecides},
		"a repeat rule":              {policy.Policy{Repeat: policy.Times(3, 10*time.Minute)}, ""},
		"a repeat rule of none":      {policy.Policy{Repeat: policy.Times(0, 10*time.Minute)}, `repeat.limit: "0 calls" is not between 1 and 1000 calls`},
		"a repeat rule of many":      {policy.Policy{Repeat: policy.Times(1001, 10*time.Minute)}, `repeat.limit: "1001 calls" is not between 1 and 1000 calls`},
		"a repeat rule of answers":   {policy.Policy{Repeat: policy.Once(time.Hour)}, ""},
		"answers to two":             {policy.Policy{Repeat: policy.Repeat{Limit: policy.Calls(2), Window: "rolling 1h", Answer: true}}, `repeat.answer: goes with a limit of "1 calls", and not of "2 calls": which answer would it be?`},
		"answers alone":              {policy.Policy{Repeat: policy.Repeat{Answer: true}}, "repeat.limit: unset; write a number of calls such as \"3 calls\"\nrepeat.window: \"\" is not a rolling span such as \"rolling 10m\""},
		"a repeat rule in money":     {policy.Policy{Repeat: policy.Repeat{Limit: policy.USD("3"), Window: "rolling 10m"}}, `repeat.limit: "3.00 USD" is not a number of calls such as "3 calls"`},
		"a repeat rule by the day":   {policy.Policy{Repeat: policy.Repeat{Limit: policy.Calls(3), Window: cost.Day}}, `repeat.window: "day" is not a rolling span such as "rolling 10m"`},
		"a repeat rule of a window":  {policy.Policy{Repeat: policy.Repeat{Window: "rolling 10m"}}, `repeat.limit: unset; write a number of calls such as "3 calls"`},

		"twins":                   {budgets(usd80, policy.Daily(policy.USD("80")), usd80), `budgets[2].name: "lifetime 80.00 USD" is the name of budgets[0] already; give it another`},
		"told apart by the meter": {budgets(usd80, usd80.On(cost.Fee)), ""},
		"not by spend":            {budgets(usd80, usd80.On(cost.Spend)), `budgets[1].name: "lifetime 80.00 USD" is the name of budgets[0] already; give it another`},
		"one scope twice":         {budgets(usd80.Shared("team"), policy.Daily(policy.USD("5")).Shared("team")), `budgets[1].scope: "team" is the scope of budgets[0] already`},
		"a scope and a name":      {budgets(usd80.Shared("team"), policy.Budget{Name: "team", Limit: policy.USD("5"), Window: cost.Day}), `budgets[1].name: "team" is the name of budgets[0] already; give it another`},
		"one scope, two names":    {budgets(policy.Budget{Name: "a", Scope: "team", Limit: policy.USD("5"), Window: cost.Day}, policy.Budget{Name: "b", Scope: "team", Limit: policy.USD("5"), Window: cost.Day}), `budgets[1].scope: "team" is the scope of budgets[0] already`},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.p.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// All mistakes are reported, in the order of the fields.
func TestValidateReportsAll(t *testing.T) {
	p := policy.Policy{
		Allow: rules{
			{MaxPerCall: policy.USD("x"), Countries: []string{"usa"}},
			{Operation: "stripe.*", Params: policy.Params{"b": {}, "a": policy.Max("x")}},
		},
		Budgets: []policy.Budget{{Name: "ü", Scope: " ", Limit: policy.USD("x"), Meter: "x", Window: "y", Zone: "z", Only: []cost.Pattern{"*"}}},
	}
	var got []string
	for line := range strings.Lines(p.Validate().Error()) {
		path, _, _ := strings.Cut(line, ": ")
		got = append(got, path)
	}
	const want = "allow[0].operation allow[0].max_per_call allow[0].countries[0] allow[1].params.a.max allow[1].params.b " +
		"budgets[0].name budgets[0].scope budgets[0].limit budgets[0].meter budgets[0].window budgets[0].zone budgets[0].only[0]"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestValidateKeepsTheCause(t *testing.T) {
	if err := budgets(policy.Lifetime(policy.Units(-1))).Validate(); !errors.Is(err, cost.ErrRange) {
		t.Errorf("%v is no ErrRange", err)
	}
}

func TestTitle(t *testing.T) {
	for want, b := range map[string]policy.Budget{
		"lifetime 80.00 USD":    policy.Lifetime(policy.USD("80")),
		"hourly 150 calls":      policy.Hourly(policy.Calls(150)),
		"daily 0.50 EUR of fee": policy.Daily(policy.Money("0.5", "EUR")).On(cost.Fee),
		"monthly 5.00 USD":      policy.Monthly(policy.USD("5")).On(cost.Spend).In("Asia/Tokyo"),
		"team:support":          policy.Daily(policy.USD("500")).Shared("team:support"),
		"refunds":               {Name: "refunds", Limit: policy.USD("5"), Window: cost.Day},
		"support":               {Name: "support", Scope: "team:support"},
		"team:sales":            policy.Scoped("team:sales"),
	} {
		if got := b.Title(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	for _, tt := range []struct {
		b    policy.Budget
		want cost.Meter
	}{
		{policy.Lifetime(policy.USD("80")), cost.Spend},
		{policy.Lifetime(policy.USD("80")).On(cost.Fee), cost.Fee},
		{policy.Lifetime(policy.Calls(8)), cost.Calls},
		{policy.Lifetime(policy.Units(8)), cost.Units},
		{policy.Scoped("team"), ""}, // what the ledger's row counts
	} {
		if got := tt.b.Counts(); got != tt.want {
			t.Errorf("%s counts %s, want %s", tt.b.Title(), got, tt.want)
		}
	}
}
