package fakevendor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const gatewayPage = "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"

// delivery tells a waiting fault who has gone away.
type delivery struct {
	client  <-chan struct{}
	closing <-chan struct{}
}

// hold waits for release, or d's ending; it reports whether release came.
func (d delivery) hold(release <-chan struct{}) bool {
	select {
	case <-release:
		return true
	case <-d.client:
	case <-d.closing:
	}
	return false
}

func (d delivery) sleep(t time.Duration) bool {
	if t <= 0 {
		return true
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.client:
	case <-d.closing:
	}
	return false
}

// answer lets v answer c, spoilt by f. It reports false where the connection is
// to be broken without a reply.
func (f Fault) answer(d delivery, c *call, v vendor) (reply, bool) {
	if !f.before(d) {
		return reply{}, false
	}
	if out, ok := f.instead(v); ok {
		return f.dress(out), true
	}
	answered := true
	f.during(d, c, v, &answered)
	out := v.serve(c)
	if f.Kind == DropAfter || !answered {
		return reply{}, false
	}
	return f.dress(f.after(c, out)), true
}

// before waits; false means that c is not executed.
func (f Fault) before(d delivery) bool {
	if !d.sleep(f.Delay) {
		return false
	}
	switch f.Kind {
	case DropBefore:
		return false
	case BlockBefore:
		return d.hold(f.Hold)
	case BlockLate:
		return delivery{closing: d.closing}.hold(f.Hold)
	}
	return true
}

// instead is the reply that takes the place of the execution.
func (f Fault) instead(v vendor) (reply, bool) {
	switch f.Kind {
	case Status:
		return f.refusal(v), true
	case HTML:
		return f.page(http.StatusBadGateway), true
	case Redirect:
		return reply{status: f.status(http.StatusTemporaryRedirect)}.set("Location", f.Body), true
	}
	return reply{}, false
}

// during sets c up so that the fault happens inside the vendor.
func (f Fault) during(d delivery, c *call, v vendor, answered *bool) {
	switch f.Kind {
	case Overcharge:
		c.factor = 2
	case BlockAfter:
		c.hook = func(r reply) reply { *answered = d.hold(f.Hold); return r }
	case StatusAfter:
		c.hook = func(reply) reply { return f.refusal(v) }
	}
}

// after changes the reply on its way out.
func (f Fault) after(c *call, out reply) reply {
	switch f.Kind {
	case HTMLAfter:
		return f.page(http.StatusBadGateway)
	case BadJSON:
		return f.page(http.StatusOK)
	case Truncate:
		out.cut = true
	case TruncateClean:
		out.body = out.body[:len(out.body)/2]
	case Enormous:
		size := f.Size
		if size == 0 {
			size = 64
		}
		out.padding = size << 20
	case Echo:
		return echo(c.header.Get("Authorization"), out)
	case AmountLie:
		out.body = lie(out.body, f.Body)
	}
	return out
}

func (f Fault) status(unset int) int {
	if f.Status != 0 {
		return f.Status
	}
	return unset
}

// refusal is the vendor's own error, or f.Body in its place.
func (f Fault) refusal(v vendor) reply {
	r := v.refuse(f.status(http.StatusInternalServerError), "the fake vendor was told to fail")
	if f.Body != "" {
		r.body = []byte(f.Body)
	}
	if f.ContentType != "" {
		r = r.set("Content-Type", f.ContentType)
	}
	return r
}

func (f Fault) page(status int) reply {
	r := reply{status: f.status(status), body: []byte(gatewayPage)}.set("Content-Type", "text/html; charset=utf-8")
	if f.Body != "" {
		r.body = []byte(f.Body)
	}
	if f.ContentType != "" {
		r = r.set("Content-Type", f.ContentType)
	}
	return r
}

// dress adds the fault's header fields.
func (f Fault) dress(r reply) reply {
	for name, values := range f.Header {
		if r.header == nil {
			r.header = http.Header{}
		}
		r.header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

// echo repeats a secret in all the forms that a careless gateway could.
func echo(authorization string, out reply) reply {
	_, secret, _ := strings.Cut(authorization, " ")
	forms := map[string]string{
		"authorization": authorization,
		"secret":        secret,
		"base64":        base64.StdEncoding.EncodeToString([]byte(secret)),
	}
	if plain, err := base64.StdEncoding.DecodeString(secret); err == nil && strings.HasPrefix(authorization, "Basic ") {
		user, password, _ := strings.Cut(string(plain), ":")
		forms["decoded"], forms["user"], forms["password"] = string(plain), user, password
	}
	for name, value := range forms {
		out = out.set("X-Echo-"+name, value)
	}
	extra, _ := json.Marshal(forms)
	if rest, ok := bytes.CutPrefix(out.body, []byte("{")); ok {
		comma := ","
		if bytes.HasPrefix(bytes.TrimSpace(rest), []byte("}")) {
			comma = ""
		}
		out.body = append([]byte(`{"echo":`+string(extra)+comma), rest...)
	}
	return out
}

// amountLike are the members that say how much, in any vendor's reply.
var amountLike = regexp.MustCompile(`"(?:amount[a-z_]*|price|num_segments)":(?:-?[0-9]+|null|"[^"]*")`)

// lie puts raw in place of every amount's value.
func lie(body []byte, raw string) []byte {
	return amountLike.ReplaceAllFunc(body, func(member []byte) []byte {
		name, _, _ := bytes.Cut(member, []byte(":"))
		return []byte(string(name) + ":" + raw)
	})
}
