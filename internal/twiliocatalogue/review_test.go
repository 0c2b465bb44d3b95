package twiliocatalogue

import (
	"strings"
	"testing"
)

var sample = []Call{
	{Product: "verify", Version: "v2", Func: "CreateService", Method: "POST", Host: "verify.twilio.com", Path: "/v2/Services", Params: []string{"FriendlyName"}},
	{Product: "verify", Version: "v2", Func: "PageService", Method: "GET", Host: "verify.twilio.com", Path: "/v2/Services"},
	{Product: "verify", Version: "v2", Func: "CreateVerification", Method: "POST", Host: "verify.twilio.com", Path: "/v2/Services/{ServiceSid}/Verifications", Params: []string{"CallbackUrl", "To"}},
	{Product: "verify", Version: "v2", Func: "DeleteNumber", Method: "DELETE", Host: "verify.twilio.com", Path: "/v2/Numbers/{PhoneNumber}"},
}

const rules = `version verify v2
id ServiceSid VA
redirect *Url
control write verify /v2/Services
fee POST verify /v2/Services/*/Verifications
deny:guards DELETE verify /v2/Numbers/*
`

func TestRows(t *testing.T) {
	r, err := ReadReview(rules)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.Rows(sample)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		got = append(got, strings.ReplaceAll(row.String(), "\t", " "))
	}
	want := []string{
		"control twilio.verify.numbers.delete DELETE verify.twilio.com /v2/Numbers/+{PhoneNumber} none - guards",
		"control twilio.verify.numbers.delete DELETE verify.twilio.com /v2/Numbers/{PhoneNumber} none - guards",
		"read twilio.verify.services.list GET verify.twilio.com /v2/Services none - -",
		"control twilio.verify.services.create POST verify.twilio.com /v2/Services form - -",
		"fee twilio.verify.services.verifications.create POST verify.twilio.com /v2/Services/{ServiceSid:VA}/Verifications form !CallbackUrl To -",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What nobody decided, and what is decided for nothing, is an error that says where.
func TestRowsAsksAPerson(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a write without a rule":   {"fee POST verify /v2/Services/*/Verifications\n", "", "POST verify.twilio.com/v2/Services/{ServiceSid}/Verifications: no rule"},
		"a rule for no call":       {"fee POST", "free PUT verify /v2/Gone\nfee POST", "review.txt:5: no call"},
		"a rule behind a wider":    {"control write verify /v2/Services\n", "control write verify /v2/**\n", "review.txt:5: no call"},
		"a product of no version":  {"version verify v2\n", "", "no version line for verify"},
		"two calls of one name":    {"deny:guards", "name twilio.verify.services.create DELETE verify /v2/Numbers/{PhoneNumber}\ndeny:guards", "give it a name line"},
		"a class that there isn't": {"fee POST", "costly POST", "review.txt:5: the line"},
		"a denial without reason":  {"deny:guards", "deny", "review.txt:6: the line"},
	} {
		r, err := ReadReview(strings.Replace(rules, c.from, c.to, 1))
		if err == nil {
			_, err = r.Rows(sample)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSurfaceOfNothing(t *testing.T) {
	if _, err := Surface(t.TempDir()); err == nil {
		t.Error("a directory without twilio-go has a surface")
	}
}
