package redisledger

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// errReply says that a script's answer is not one that this version knows. The caller denies.
var errReply = errors.New("unknown shape of reply")

// A reply is what every script returns: a status word and strings after it.
type reply struct {
	status string
	rest   []string
	bad    bool // something was read that was not there
	frozen bool // the tenant is, see watch.lua
}

// decode takes a script's answer. Anything but a flat array of strings is an error.
func decode(v any, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errReply
	}
	words := make([]string, len(list))
	for i, w := range list {
		if words[i], ok = w.(string); !ok {
			return nil, errReply
		}
	}
	return &reply{status: words[0], rest: words[1:]}, nil
}

// expect is the error for a status that is none of known.
func (r *reply) expect(known ...string) error {
	if slices.Contains(known, r.status) {
		return nil
	}
	return fmt.Errorf("redisledger: %w: %q", errReply, r.status)
}

// word takes the next string.
func (r *reply) word() string {
	if len(r.rest) == 0 {
		r.bad = true
		return ""
	}
	w := r.rest[0]
	r.rest = r.rest[1:]
	return w
}

// number takes the next string as a number in the form that the scripts write.
func (r *reply) number() int64 {
	n, err := strconv.ParseInt(r.word(), 10, 64)
	if err != nil {
		r.bad = true
	}
	return n
}

// time takes the next string as Unix microseconds.
func (r *reply) time() time.Time { return time.UnixMicro(r.number()) }

// err is an error when something read was not there or not a number.
func (r *reply) err() error {
	if r.bad {
		return fmt.Errorf("redisledger: %w: %s is too short or not a number", errReply, r.status)
	}
	return nil
}

// A window is where a part landed and what stands in its budget, in the window of from. It ends at first, or of a
// rolling one the oldest slot does in which something stands.
type window struct{ start, end, spent, held, from, first int64 }

// window takes the next six words.
func (r *reply) window() window {
	return window{r.number(), r.number(), r.number(), r.number(), r.number(), r.number()}
}

// windows takes what report in record.lua writes.
func (r *reply) windows() []window {
	n := r.number()
	if r.bad || n < 0 || n > int64(len(r.rest)/6) {
		r.bad = true
		return nil
	}
	list := make([]window, n)
	for i := range list {
		list[i] = r.window()
	}
	return list
}

// fields takes the rest as the fields of a hash.
func (r *reply) fields() map[string]string {
	m := map[string]string{}
	for len(r.rest) > 0 {
		k := r.word()
		m[k] = r.word()
	}
	return m
}

// digits writes a number as the scripts read it: a negative one, such as the expiry of a zero time, as 0.
func digits(n int64) string { return strconv.FormatInt(max(0, n), 10) }
