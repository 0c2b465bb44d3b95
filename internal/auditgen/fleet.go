package auditgen

import (
	"time"

	"github.com/keybrake/keybrake-go/cost"
)

// tenants are those of the world, and how much of it is theirs.
var tenants = []struct {
	name  string
	share float64
}{{"acme", 0.5}, {"globex", 0.25}, {"initech", 0.15}, {"umbrella", 0.1}}

// An agent does one job.
type agent struct {
	name, vendor, tool string
	policy             string // digest
	rule               int    // that lets its calls through
	labels             []string
	team               string
	limit              int64 // of each run's own budget
	reads, writes      []operation
}

// An operation of a vendor's catalogue, and what a call of it may cost.
type operation struct {
	name, class string
	meter       cost.Meter
	currency    cost.Currency
	least, most int64 // micro-units
	units       bool  // it counts units beside the money
	pending     bool  // what it costs comes later
	less        bool  // it costs less than its bound
	probe       string
	object      string
}

const usd = cost.MicrosPerUnit

var agents = []agent{
	{
		name: "refund-bot", policy: "1d630127108f1feaf1f7beee", vendor: "stripe", tool: "refund_customer", labels: []string{"job:refunds", "team:support"}, team: "team:support", limit: 80 * usd,
		reads:  []operation{{name: "stripe.charges.retrieve", class: "read", object: "ch_"}},
		writes: []operation{{name: "stripe.refunds.create", class: "outflow", meter: cost.Outflow, currency: "USD", least: 1 * usd, most: 9 * usd, probe: "stripe.charges.retrieve", object: "re_"}},
	},
	{
		name: "checkout-bot", policy: "c7761e58969f7edd49818664", vendor: "stripe", tool: "charge_card", labels: []string{"job:checkout", "team:sales"}, team: "team:sales", limit: 900 * usd,
		reads:  []operation{{name: "stripe.charges.retrieve", class: "read", object: "ch_"}},
		writes: []operation{{name: "stripe.charges.create", class: "charge", meter: cost.Charge, currency: "EUR", least: 5 * usd, most: 99 * usd, object: "ch_"}},
	},
	{
		name: "notify-bot", policy: "6cd6f41455d78245f1295895", vendor: "twilio", tool: "send_sms", labels: []string{"job:reminders", "team:support"}, team: "team:support", limit: 2 * usd,
		reads:  []operation{{name: "twilio.messages.retrieve", class: "read", object: "SM"}},
		writes: []operation{{name: "twilio.messages.create", class: "fee", meter: cost.Fee, currency: "USD", least: 8_300, most: 99_600, units: true, pending: true, object: "SM"}},
	},
	{
		name: "mail-bot", policy: "00d8d3f11739d2f353709998", vendor: "resend", tool: "send_mail", labels: []string{"job:newsletter", "team:sales"}, team: "team:sales", limit: 1 * usd,
		reads:  []operation{{name: "resend.emails.retrieve", class: "read"}},
		writes: []operation{{name: "resend.emails.send", class: "fee", meter: cost.Fee, currency: "USD", least: 900, most: 45_000, units: true}},
	},
	{
		name: "research-bot", policy: "66f62d1807d3821a3865f257", vendor: "openai", tool: "ask_model", labels: []string{"job:research"}, team: "team:research", limit: 5 * usd,
		reads:  []operation{{name: "openai.models.list", class: "read"}},
		writes: []operation{{name: "openai.chat.completions.create", class: "fee", meter: cost.Fee, currency: "USD", least: 2_000, most: 400_000, less: true}},
	},
}

// A budget is one window of one budget.
type budget struct {
	name, of    string
	shared      bool
	meter       cost.Meter
	currency    cost.Currency
	limit       int64
	spent, held int64
	reset       time.Time
}

func (b *budget) left() int64 { return max(0, b.limit-b.spent-b.held) }

// team names a window of a shared budget.
type team struct {
	tenant, name string
	currency     cost.Currency
	day          time.Time
}

// teamOf is a team's daily budget of now, with a limit that most days keep well below.
func (w *World) teamOf(tenant string, a *agent) *budget {
	day, currency := w.now.Truncate(24*time.Hour), a.writes[0].currency
	key := team{tenant, a.team, currency, day}
	b := w.teams[key]
	if b == nil {
		share := 0.0
		for _, t := range tenants {
			if t.name == tenant {
				share = t.share
			}
		}
		name, perRun := a.team, 60.0
		if currency == "EUR" {
			name, perRun = a.team+":eur", 900
		}
		limit := int64(w.perDay*share/float64(len(agents))*perRun*4+1000) * usd
		b = &budget{name: name, shared: true, meter: cost.Spend, currency: currency, limit: limit, reset: day.AddDate(0, 0, 1)}
		w.teams[key] = b
		delete(w.teams, team{tenant, a.team, currency, day.AddDate(0, 0, -2)})
	}
	return b
}
