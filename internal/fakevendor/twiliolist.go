package fakevendor

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// equal tells whether a list's filter, if it is given, is value.
func (f form) equal(name, value string) bool { return !f.has(name) || f.str(name) == value }

// between tells whether the filters name, name< and name> let at through. A date means the whole day of
// UTC, "on or before" and "on or after" it; twilio-go sends a time instead. One that cannot be read
// lets nothing through.
func (f form) between(name string, at time.Time) bool {
	at = at.UTC().Truncate(time.Second)
	for _, op := range []string{"", "<", ">"} {
		if !f.has(name + op) {
			continue
		}
		first, err := time.Parse(time.RFC3339, f.str(name+op))
		last := first
		if err != nil {
			first, err = time.Parse(time.DateOnly, f.str(name+op))
			last = first.Add(24*time.Hour - time.Second)
		}
		if err != nil || op != "<" && at.Before(first) || op != ">" && at.After(last) {
			return false
		}
	}
	return true
}

// page is one page of a collection that is kept oldest first and listed newest first. The next page's address has
// the list's filters, and a token, as Twilio's have.
func (c *twilioCall) page(name string, all []object) reply {
	slices.Reverse(all)
	size, index := 50, 0
	if n, err := strconv.Atoi(c.form.str("PageSize")); err == nil {
		size = min(max(n, 1), 1000)
	}
	if n, err := strconv.Atoi(c.form.str("Page")); err == nil {
		index = min(max(n, 0), 1<<20)
	}
	start := min(index*size, len(all))
	end := min(start+size, len(all))
	out := object{
		name: append([]object{}, all[start:end]...), "page": int64(index), "page_size": int64(size),
		"start": int64(start), "end": int64(max(start, end-1)), "uri": c.pageURI(index, size, ""), "first_page_uri": c.pageURI(0, size, ""),
		"next_page_uri": nil, "previous_page_uri": nil,
	}
	if end < len(all) {
		last, _ := all[end-1]["sid"].(string)
		out["next_page_uri"] = c.pageURI(index+1, size, "PA"+last)
	}
	return jsonReply(http.StatusOK, out)
}

func (c *twilioCall) pageURI(index, size int, token string) string {
	q := url.Values{}
	for name, values := range c.form {
		if !strings.HasPrefix(name, "Page") {
			q[name] = values
		}
	}
	q.Set("PageSize", strconv.Itoa(size))
	q.Set("Page", strconv.Itoa(index))
	if token != "" {
		q.Set("PageToken", token)
	}
	return fmt.Sprintf("%s?%s", c.path, q.Encode())
}
