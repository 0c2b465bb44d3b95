package kbtwilio

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// apiVersion is the header by which twilio-go asks for the v1.0 form of an API, in net/http's canonical form.
const apiVersion = "X-Twilio-Apiversion"

var (
	accountSid = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	keySid     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	secret     = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)
)

// errCredential names the forms and no part of what was given.
var errCredential = errors.New("kbtwilio: the credential is neither ACxxx:token nor ACxxx:SKxxx:secret")

// place takes an account with its auth token, or with an API key and its secret, in one string with colons or in
// parts. The account is needed with a key too: it is in the path of every call, and the key does not name it.
func place(parts []string) (vendors.Placement, error) {
	if len(parts) == 1 {
		parts = strings.Split(parts[0], ":")
	}
	if len(parts) < 2 || len(parts) > 3 || !accountSid.MatchString(parts[0]) {
		return vendors.Placement{}, errCredential
	}
	user, password, kind := parts[0], parts[len(parts)-1], kindToken
	if len(parts) == 3 {
		user, kind = parts[1], kindKey
		if !keySid.MatchString(user) {
			return vendors.Placement{}, errCredential
		}
	}
	if !secret.MatchString(password) {
		return vendors.Placement{}, errCredential
	}
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return vendors.Placement{
		Header:  "Authorization",
		Value:   "Basic " + basic,
		Account: parts[0],
		Kind:    kind,
		Mode:    vendors.ModeUnknown, // Twilio's test credentials look like any other
		Secrets: []string{password, basic},
	}, nil
}

// check refuses a call for another account than the credential's: a subaccount spends on its own, where no budget of
// this account's sees it.
func check(c *vendors.Call) error {
	if sid, ok := c.IDs["AccountSid"]; ok && sid != c.Account {
		return vendors.Refuse(reason.AccountMismatch, "the path names another account than the credential's; with twilio-go call SetAccountSid with the credential's account, and leave PathAccountSid out")
	}
	if strings.HasPrefix(c.BasicUser, "AC") && c.BasicUser != c.Account {
		return vendors.Refuse(reason.AccountMismatch, "the user name is another account than the credential's; give the credential's account SID beside the vault key")
	}
	return nil
}

// A refusalBody is Twilio's error in both forms at once, classic and v1.0: twilio-go reads it as TwilioRestError or as
// RestErrorV1, whichever the API asks for (measured, November 2026).
type refusalBody struct {
	Code           int            `json:"code"`
	Message        string         `json:"message"`
	MoreInfo       string         `json:"more_info"`
	Status         int            `json:"status"`
	HTTPStatusCode int            `json:"httpStatusCode"`
	UserError      bool           `json:"userError"`
	Params         map[string]any `json:"params"`
	Details        map[string]any `json:"details"`
}

// refuse writes a refusal with the code that Twilio itself has for the status (20403, 20429, 20503), so that code
// which looks at it does the right thing; what tells the brake's apart is "keybrake" among the details.
func refuse(_ *vendors.Call, r vendors.Refusal) vendors.Response {
	status, message := r.Status, r.Message
	if status == 0 {
		row, _ := reason.Lookup(r.Code)
		status = row.Status
	}
	if message == "" {
		message = r.Error()
	}
	why := map[string]any{"keybrake": map[string]string{"reason": string(r.Code), "param": r.Param}}
	body, err := json.Marshal(refusalBody{
		Code: 20_000 + status, Message: message, Status: status, HTTPStatusCode: status,
		UserError: status < 500, Params: why, Details: why,
	})
	if err != nil { // cannot happen: strings and numbers; an empty object still decodes as both errors
		body = []byte("{}")
	}
	return vendors.Response{Status: status, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: body}
}
