package kbtwilio

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// Why whole groups of operations are refused whatever a policy says.
const (
	accounts  = "accounts are managed by people; a subaccount spends on its own, and a reply holds its auth token"
	keys      = "keys and tokens are managed by people, not through a vault key"
	guards    = "it widens where texts and calls may go, which is Twilio's own guard against pumping"
	alarms    = "usage triggers are the account's own alarms"
	endpoints = "it lets someone outside place calls on the account"
	sessions  = "it hands out a token with which somebody acts on the account past the brake"
	inbound   = "it changes where the calls and texts to the account go, whose codes and answers they carry"
	code      = "it changes what runs by itself on the account, with the account's own token, past the brake"
	webhooks  = "it has Twilio tell an address of the caller's choice what happens on the account"
)

// reasons are those that the catalogue names.
var reasons = map[string]string{
	"accounts": accounts, "keys": keys, "guards": guards, "alarms": alarms, "endpoints": endpoints,
	"sessions": sessions, "webhooks": webhooks, "inbound": inbound, "code": code,
}

// hardDenied are the operations that make keys or accounts, or that switch off Twilio's own guards. Paths are those
// of twilio-go v1.31.0. A "w" in what each row may do stands for every method that changes something, an "r" for GET.
func hardDenied() []vendors.Operation {
	var ops []vendors.Operation
	for _, d := range []struct{ name, may, host, path, why string }{
		{"twilio.accounts", "rw", apiHost, "/2010-04-01/Accounts.json", accounts},
		{"twilio.accounts.account", "rw", apiHost, "/2010-04-01/Accounts/{Sid:AC}.json", accounts},
		{"twilio.keys", "rw", apiHost, account + "/Keys.json", keys},
		{"twilio.keys.key", "rw", apiHost, account + "/Keys/{Sid}.json", keys},
		{"twilio.signing_keys", "rw", apiHost, account + "/SigningKeys.json", keys},
		{"twilio.signing_keys.key", "rw", apiHost, account + "/SigningKeys/{Sid}.json", keys},
		{"twilio.tokens", "w", apiHost, account + "/Tokens.json", keys},
		{"twilio.usage.triggers", "w", apiHost, account + "/Usage/Triggers.json", alarms},
		{"twilio.usage.triggers.trigger", "w", apiHost, account + "/Usage/Triggers/{Sid}.json", alarms},
		{"twilio.sip.credentials", "w", apiHost, account + "/SIP/CredentialLists/{ListSid}/Credentials.json", endpoints},

		{"twilio.iam.keys", "rw", "iam.twilio.com", "/v1/Keys", keys},
		{"twilio.iam.keys.key", "rw", "iam.twilio.com", "/v1/Keys/{Sid}", keys},
		{"twilio.iam.oauth_apps", "rw", "iam.twilio.com", "/v1/Account/OAuthApps", keys},
		{"twilio.iam.oauth_apps.app", "rw", "iam.twilio.com", "/v1/Account/OAuthApps/{Sid}", keys},
		{"twilio.iam.token", "w", "iam.twilio.com", "/v1/token", keys},
		{"twilio.oauth.v1.token", "w", "oauth.twilio.com", "/v1/token", keys},
		{"twilio.oauth.v1.authorize", "r", "oauth.twilio.com", "/v1/authorize", keys},
		{"twilio.oauth.v2.token", "w", "oauth.twilio.com", "/v2/token", keys},
		{"twilio.oauth.v2.authorize", "r", "oauth.twilio.com", "/v2/authorize", keys},

		{"twilio.accounts.auth_tokens.secondary", "w", "accounts.twilio.com", "/v1/AuthTokens/Secondary", keys},
		{"twilio.accounts.auth_tokens.promote", "w", "accounts.twilio.com", "/v1/AuthTokens/Promote", keys},
		{"twilio.accounts.safe_list", "w", "accounts.twilio.com", "/v1/SafeList/Numbers", guards},
		{"twilio.accounts.messaging_geo_permissions", "w", "accounts.twilio.com", "/v1/Messaging/GeoPermissions", guards},

		{"twilio.voice.settings", "w", "voice.twilio.com", "/v1/Settings", guards},
		{"twilio.voice.dialing_permissions", "w", "voice.twilio.com", "/v1/DialingPermissions/BulkCountryUpdates", guards},
		{"twilio.verify.safe_list", "w", "verify.twilio.com", "/v2/SafeList/Numbers", guards},
		{"twilio.verify.safe_list.number", "w", "verify.twilio.com", "/v2/SafeList/Numbers/{Number}", guards},
	} {
		ops = append(ops, deny(d.name, d.may, d.host, d.path, d.why)...)
	}
	// With the prefix of its ids, because PreregisteredUsa2p in that place is another operation, and a denial beats it.
	return append(ops, vendors.Operation{
		Name: "twilio.messaging.services.update", Method: http.MethodPost, Host: "messaging.twilio.com", Path: "/v1/Services/{Sid:MG}",
		Class: vendors.Control, Body: vendors.Form, HardDeny: inbound,
	})
}

func deny(name, may, host, path, why string) []vendors.Operation {
	var methods []string
	if strings.Contains(may, "r") {
		methods = append(methods, http.MethodGet)
	}
	if strings.Contains(may, "w") {
		methods = slices.Concat(methods, []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete})
	}
	ops := make([]vendors.Operation, 0, len(methods))
	for _, m := range methods {
		ops = append(ops, vendors.Operation{
			Name: name + "." + strings.ToLower(m), Method: m, Host: host, Path: path,
			Class: vendors.Control, Body: vendors.Form, HardDeny: why,
		})
	}
	return ops
}
