package kbtwilio

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// The kinds of credential, by form.
const (
	kindToken = "token"
	kindKey   = "key"
)

// testCredentials is the code by which Twilio refuses test credentials what they have no part in (errors 20008, read
// November 2026).
const testCredentials = 20008

// examine tells the account's own token and a main key, which may do everything, from a standard and a restricted one. Only
// the first two reach /Accounts; a standard key reaches all else, the balance for instance, which no permission of a
// restricted key covers (Twilio's pages on API keys, restricted API keys and error 20003, read November 2026). Twilio
// refuses a restricted key what it may not do as it refuses a key that it does not know.
func examine(e *vendors.Exam) vendors.Diagnosis {
	path := "/2010-04-01/Accounts/" + e.Account
	switch len(e.Seen) {
	case 0:
		return vendors.Diagnosis{Look: &vendors.Probe{Operation: "twilio.accounts.retrieve", Host: apiHost, Path: path + ".json"}}
	case 1:
		if e.Kind == kindToken || e.Seen[0].Status == http.StatusOK {
			return widest(e)
		}
		if refuses(e.Seen[0]) {
			return vendors.Diagnosis{Look: &vendors.Probe{Operation: "twilio.balance.retrieve", Host: apiHost, Path: path + "/Balance.json"}}
		}
	default:
		if e.Seen[1].Status == http.StatusOK {
			return vendors.Diagnosis{
				Fit: vendors.Wider, Is: "a standard API key", Why: "it may do everything but manage accounts and keys", Do: restrict(e),
			}
		}
		if refuses(e.Seen[1]) {
			return vendors.Diagnosis{
				Is: "a restricted API key, or one that Twilio does not accept", Why: "Twilio refuses both alike; the first call of an agent tells",
			}
		}
	}
	return vendors.Diagnosis{Is: "an API key", Why: "Twilio gave no answer that tells"}
}

// widest is about what may be the whole account: its token, by form, or a main key, by what it reached.
func widest(e *vendors.Exam) vendors.Diagnosis {
	const all = "it may do everything, manage accounts and make further keys included"
	reply := e.Seen[0]
	var said struct {
		Code int `json:"code"`
	}
	if reply.Status != http.StatusOK {
		_ = json.Unmarshal(reply.Body, &said) // what is no JSON has no code
	}
	switch {
	case e.Kind != kindToken:
		return vendors.Diagnosis{Fit: vendors.Wider, Is: "a main API key", Why: all, Do: restrict(e)}
	case said.Code == testCredentials:
		return vendors.Diagnosis{Fit: vendors.Fits, Is: "test credentials, which send nothing"}
	case reply.Status == http.StatusUnauthorized:
		return vendors.Diagnosis{Fit: vendors.Refused, Is: "an auth token", Why: "Twilio does not accept it", Do: "put an API key in its place"}
	}
	return vendors.Diagnosis{
		Fit: vendors.Wider, Is: "the account's auth token", Why: all + ", and to revoke it is to change it everywhere", Do: restrict(e),
	}
}

func refuses(r *vendors.Reply) bool {
	return r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden
}

// mostNamed is how many operations are named to a person.
const mostNamed = 8

func restrict(e *vendors.Exam) string {
	if len(e.Needs) > mostNamed {
		return "name in the policies only what the agents need, then make a restricted API key for that"
	}
	names := make([]string, len(e.Needs))
	for i, op := range e.Needs {
		names[i] = op.Name
	}
	return "make a restricted API key (or a standard one, where Twilio has no permission for these) for " + strings.Join(names, ", ") +
		", with reading too, by which a Reconciler finds out what became of a call"
}
