package fakevendor

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// reply is one answer. The zero cut and padding send it as it is.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	cut     bool // break the connection half-way through the declared body
	padding int  // bytes of padding put into the JSON body as it is sent
}

// jsonReply is v as JSON. HTML characters are left alone, as the vendors do.
func jsonReply(status int, v any) reply {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only maps, strings and integers get here
	}
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: b.Bytes()}
}

// clone is a copy whose header and body can be changed.
func (r reply) clone() reply {
	r.header = r.header.Clone()
	r.body = bytes.Clone(r.body)
	return r
}

// set returns r with one more header field.
func (r reply) set(name, value string) reply {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(name, value)
	return r
}

// write sends r. A cut reply ends in [http.ErrAbortHandler], which the server
// turns into a broken connection or a reset stream.
func (r reply) write(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	switch {
	case r.cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
		w.WriteHeader(r.status)
		_, _ = w.Write(r.body[:len(r.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case r.padding > 0:
		w.WriteHeader(r.status)
		r.writePadded(w)
	default:
		w.WriteHeader(r.status)
		_, _ = w.Write(r.body)
	}
}

// writePadded sends the body with a member "padding" in front, piece by piece,
// so that an enormous reply costs the test's memory nothing on this side.
func (r reply) writePadded(w http.ResponseWriter) {
	rest, isObject := bytes.CutPrefix(r.body, []byte("{"))
	if !isObject {
		rest = []byte("}")
	}
	piece := bytes.Repeat([]byte("x"), 64<<10)
	_, err := w.Write([]byte(`{"padding":"`))
	for left := r.padding; left > 0 && err == nil; left -= len(piece) {
		_, err = w.Write(piece[:min(left, len(piece))])
	}
	comma := []byte(`",`)
	if bytes.HasPrefix(rest, []byte("}")) {
		comma = []byte(`"`)
	}
	_, _ = w.Write(append(comma, rest...))
}
