package fakevendor

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// form is one set of parameters, query and body merged, as Stripe and Twilio
// read them. Names in brackets stay as they are: metadata[k], expand[0].
type form url.Values

// parseForm merges query and body. Of a repeated scalar the last one counts,
// query before body.
// What real Stripe does with a duplicate is not established (November 2026).
func parseForm(query string, body []byte) (form, error) {
	f, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	b, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	for name, values := range b {
		f[name] = append(f[name], values...)
	}
	return form(f), nil
}

func (f form) has(name string) bool { return len(f[name]) > 0 }

func (f form) str(name string) string {
	if values := f[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// list is the array name: name[]=a&name[]=b, name[0]=a, or name=a.
func (f form) list(name string) []string {
	out := append(append([]string(nil), f[name]...), f[name+"[]"]...)
	for i := 0; f.has(name + "[" + strconv.Itoa(i) + "]"); i++ {
		out = append(out, f.str(name+"["+strconv.Itoa(i)+"]"))
	}
	return out
}

// mapping is the map name: name[k]=v.
func (f form) mapping(name string) map[string]string {
	out := map[string]string{}
	for full := range f {
		key, ok := strings.CutPrefix(full, name+"[")
		if ok && strings.HasSuffix(key, "]") && strings.Count(key, "]") == 1 && key != "]" {
			out[strings.TrimSuffix(key, "]")] = f.str(full)
		}
	}
	return out
}

// integer is what Stripe takes for one (docs.stripe.com, read November 2026). Twelve digits are
// more than any payment has, and cannot overflow in micro-units.
var integer = regexp.MustCompile(`^-?[0-9]{1,12}$`)

// integer reads name; ok is false where it is absent.
func (f form) integer(name string) (n int64, ok bool, err *stripeError) {
	s := f.str(name)
	if s == "" {
		return 0, false, nil
	}
	if !integer.MatchString(s) {
		return 0, false, badParam("parameter_invalid_integer", name, "Invalid integer: "+s)
	}
	n, _ = strconv.ParseInt(s, 10, 64)
	return n, true, nil
}

// amount reads a positive number of minor units.
func (f form) amount(name string) (n int64, ok bool, err *stripeError) {
	n, ok, err = f.integer(name)
	if err == nil && ok && n < 1 {
		return 0, false, badParam("parameter_invalid_integer", name, "This value must be greater than or equal to 1.")
	}
	return n, ok, err
}

// need is amount, where it is required.
func (f form) need(name string) (int64, *stripeError) {
	n, ok, err := f.amount(name)
	if err == nil && !ok {
		return 0, missing(name)
	}
	return n, err
}

// currency reads the required currency, in lower case as Stripe answers it.
func (f form) currency() (string, *stripeError) {
	c := strings.ToLower(f.str("currency"))
	switch {
	case c == "":
		return "", missing("currency")
	case !isCurrency.MatchString(c):
		return "", badParam("", "currency", "Invalid currency: "+c)
	}
	return c, nil
}

var isCurrency = regexp.MustCompile(`^[a-z]{3}$`)

// encode is the canonical text of the parameters, equal for equal requests.
func (f form) encode() string { return url.Values(f).Encode() }
