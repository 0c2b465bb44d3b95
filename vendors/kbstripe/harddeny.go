package kbstripe

import (
	"net/http"

	"github.com/keybrake/keybrake-go/vendors"
)

// Why an operation is refused whatever a policy says.
const (
	mints       = "it makes a key, token or session that acts outside the brake"
	secrets     = "it reads or writes secrets that are kept at Stripe"
	events      = "it changes where Stripe sends events, which carry the account's data"
	destination = "it changes where the account's money is paid out"
	cards       = "it makes a card that spends outside the brake, or shows a card's number"
	forwards    = "it sends a card's number to a third party"
	connects    = "it gives or takes away another account's access"
)

// A denied is one row that no policy can allow. It is named in the catalogue, so that the refusal says why and
// so that a wildcard in a policy visibly does not reach it.
type denied struct{ name, method, host, path, why string }

var deniedRows = []denied{
	{"ephemeral_keys.create", "POST", apiHost, "/v1/ephemeral_keys", mints},
	{"ephemeral_keys.delete", "DELETE", apiHost, "/v1/ephemeral_keys/{id}", mints},
	{"tokens.create", "POST", apiHost, "/v1/tokens", mints},
	{"account_sessions.create", "POST", apiHost, "/v1/account_sessions", mints},
	{"customer_sessions.create", "POST", apiHost, "/v1/customer_sessions", mints},
	{"billing_portal.sessions.create", "POST", apiHost, "/v1/billing_portal/sessions", mints},
	{"account_links.create", "POST", apiHost, "/v1/account_links", mints},
	{"accounts.login_links.create", "POST", apiHost, "/v1/accounts/{id}/login_links", mints},
	{"terminal.connection_tokens.create", "POST", apiHost, "/v1/terminal/connection_tokens", mints},
	{"v2.billing.meter_event_session.create", "POST", apiHost, "/v2/billing/meter_event_session", mints},
	{"v2.core.account_tokens.create", "POST", apiHost, "/v2/core/account_tokens", mints},
	{"v2.core.account_links.create", "POST", apiHost, "/v2/core/account_links", mints},

	{"apps.secrets.create", "POST", apiHost, "/v1/apps/secrets", secrets},
	{"apps.secrets.list", "GET", apiHost, "/v1/apps/secrets", secrets},
	{"apps.secrets.find", "GET", apiHost, "/v1/apps/secrets/find", secrets},
	{"apps.secrets.delete", "POST", apiHost, "/v1/apps/secrets/delete", secrets},

	{"webhook_endpoints.create", "POST", apiHost, "/v1/webhook_endpoints", events},
	{"webhook_endpoints.update", "POST", apiHost, "/v1/webhook_endpoints/{id}", events},
	{"webhook_endpoints.delete", "DELETE", apiHost, "/v1/webhook_endpoints/{id}", events},
	{"v2.core.event_destinations.create", "POST", apiHost, "/v2/core/event_destinations", events},
	{"v2.core.event_destinations.update", "POST", apiHost, "/v2/core/event_destinations/{id}", events},
	{"v2.core.event_destinations.delete", "DELETE", apiHost, "/v2/core/event_destinations/{id}", events},
	{"v2.core.event_destinations.enable", "POST", apiHost, "/v2/core/event_destinations/{id}/enable", events},
	{"v2.core.event_destinations.disable", "POST", apiHost, "/v2/core/event_destinations/{id}/disable", events},

	{"accounts.external_accounts.create", "POST", apiHost, "/v1/accounts/{id}/external_accounts", destination},
	{"accounts.external_accounts.update", "POST", apiHost, "/v1/accounts/{id}/external_accounts/{external}", destination},
	{"accounts.external_accounts.delete", "DELETE", apiHost, "/v1/accounts/{id}/external_accounts/{external}", destination},
	{"accounts.bank_accounts.create", "POST", apiHost, "/v1/accounts/{id}/bank_accounts", destination},
	{"accounts.bank_accounts.update", "POST", apiHost, "/v1/accounts/{id}/bank_accounts/{external}", destination},
	{"accounts.bank_accounts.delete", "DELETE", apiHost, "/v1/accounts/{id}/bank_accounts/{external}", destination},
	{"external_accounts.update", "POST", apiHost, "/v1/external_accounts/{id}", destination},
	{"balance_settings.update", "POST", apiHost, "/v1/balance_settings", destination},

	{"issuing.cards.create", "POST", apiHost, "/v1/issuing/cards", cards},
	{"issuing.cards.list", "GET", apiHost, "/v1/issuing/cards", cards},
	{"issuing.cards.retrieve", "GET", apiHost, "/v1/issuing/cards/{id}", cards},
	{"issuing.cards.update", "POST", apiHost, "/v1/issuing/cards/{id}", cards},
	{"forwarding.requests.create", "POST", apiHost, "/v1/forwarding/requests", forwards},

	{"oauth.token", "POST", connectHost, "/oauth/token", connects},
	{"oauth.deauthorize", "POST", connectHost, "/oauth/deauthorize", connects},
}

func hardDenied() []vendors.Operation {
	rows := make([]vendors.Operation, len(deniedRows))
	for i, d := range deniedRows {
		rows[i] = vendors.Operation{
			Name: "stripe." + d.name, Method: d.method, Host: d.host, Path: d.path, Class: vendors.Control, HardDeny: d.why,
		}
		if d.method != http.MethodGet {
			rows[i].Body = vendors.Form
		}
	}
	return rows
}
