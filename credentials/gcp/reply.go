package gcp

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/credentials"
)

// A refused reason is one in our own words.
type refused string

func (r refused) Error() string { return string(r) }

// A missing reason is one in our own words, too, and says that there is no such credential.
type missing string

func (m missing) Error() string { return string(m) }

// A reply is what projects.secrets.versions.access answers, in both forms.
type reply struct {
	Payload struct {
		Data       []byte `json:"data"`       // base64
		DataCRC32C string `json:"dataCrc32c"` // an int64, which JSON has as a string
	} `json:"payload"`
	Error struct {
		Status string `json:"status"` // the name of a google.rpc.Code
	} `json:"error"`
}

// read takes the value out of a reply. One newline at the end of it is dropped, as of a file that it was stored from.
func read(status int, body []byte) (string, error) {
	var r reply
	if status != http.StatusOK {
		_ = json.Unmarshal(body, &r) // what is no JSON has no status of Google's
		return "", answered(r.Error.Status, status)
	}
	if json.Unmarshal(body, &r) != nil {
		return "", refused("the reply cannot be read")
	}
	data := r.Payload.Data
	if sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)); r.Payload.DataCRC32C != strconv.FormatUint(uint64(sum), 10) {
		return "", refused("the value's CRC-32C is missing or another's: it was damaged on its way or in store")
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case value == "":
		return "", missing("the value is empty")
	case !utf8.ValidString(value):
		return "", refused("the value is binary; a credential is text")
	}
	return value, nil
}

// absent are the statuses that say that there is nothing to be had of that name. FAILED_PRECONDITION is a version that is
// disabled or destroyed: whoever does that wants it used no more.
var absent = []string{"NOT_FOUND", "FAILED_PRECONDITION"}

// present are the other codes of google.rpc.Code. A status that is none of them could be anything that the other side
// chose to send.
var present = []string{
	"CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",
	"RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
}

// answered is the error for another status than 200.
func answered(status string, code int) error {
	switch {
	case slices.Contains(absent, status):
		return missing(fmt.Sprintf("%s (HTTP %d)", status, code))
	case slices.Contains(present, status):
		return refused(fmt.Sprintf("%s (HTTP %d)", status, code))
	default:
		return refused(fmt.Sprintf("an answer without a documented status (HTTP %d)", code))
	}
}

// failure says what became of the request for ref without a word of the service's: err may hold some, and is not wrapped.
func failure(ctx context.Context, ref string, err error) error {
	const where = "Google Secret Manager: "
	if ctx.Err() != nil {
		return &credentials.Fault{Ref: ref, Why: where + "no answer in time", Err: context.Cause(ctx)}
	}
	fault := &credentials.Fault{Ref: ref, Why: where + why(err)}
	if errors.As(err, new(missing)) {
		fault.Err = credentials.ErrUnknown
	}
	return fault
}

// why is in our words or the operating system's.
func why(err error) string {
	var (
		own   refused
		none  missing
		errno syscall.Errno
		name  *net.DNSError
		cert  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &own):
		return string(own)
	case errors.As(err, &none):
		return string(none)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &name):
		return "its name cannot be resolved"
	case errors.As(err, &cert):
		return "its certificate is not accepted"
	default:
		return "no answer that can be read"
	}
}
