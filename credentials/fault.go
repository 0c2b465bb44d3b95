package credentials

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// A Fault is why a source has no answer, in words that may be shown: they name references, variables, paths, hosts and
// status codes, and hold nothing that a secret store has said. The brake passes on the text of Faults alone. Of any other
// error of a source it tells the kind, because a store's text, or that of a library that reads one, may repeat a secret.
type Fault struct {
	Ref string
	Why string // may be empty with ErrUnknown
	Err error  // what errors.Is shall find, such as ErrUnknown; its text is not shown; may be nil
}

// Error is ErrUnknown's text with the reference, where Err is that, and Why.
func (f *Fault) Error() string {
	text := fmt.Sprintf("credentials: %q", f.Ref)
	if f.Err == ErrUnknown {
		text = fmt.Sprintf("%v %q", ErrUnknown, f.Ref)
	}
	if f.Why != "" {
		text += ": " + f.Why
	}
	return text
}

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// A sourceError is what may be told of why a source gave no credential. Not the source's own text: a store, a proxy before
// it or a library may have written the secret into it, or the token with which the store is read. The source's error is
// found by [errors.Is] and by nothing that would show it.
type sourceError struct {
	text string
	is   func(error) bool
}

func (e *sourceError) Error() string        { return e.text }
func (e *sourceError) Is(target error) bool { return e.is(target) }

// told is err, of a source of credentials, as it may be shown: the words of each [Fault] in it, and of
// everything else the kind alone.
func told(ref string, err error) error {
	if _, ok := err.(*sourceError); ok || err == nil {
		return err
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, told(ref, e))
		}
		return errors.Join(all...)
	}
	e := &sourceError{is: func(target error) bool { return errors.Is(err, target) }}
	var fault *Fault
	if errors.As(err, &fault) {
		e.text = fault.Error()
	} else {
		e.text = (&Fault{ref, "the source failed: " + kindOf(err), nil}).Error()
	}
	return e
}

// kindOf is what an error is, by its types and by what the operating system calls it, without a word of its text.
func kindOf(err error) string {
	var known []string
	var errno syscall.Errno
	var lookup *net.DNSError
	var status interface{ HTTPStatusCode() int }
	switch {
	case errors.Is(err, ErrUnknown):
		known = append(known, "it does not know the reference")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		known = append(known, "it did not answer in time")
	case errors.Is(err, context.Canceled):
		known = append(known, "the caller has gone")
	case errors.As(err, &errno):
		known = append(known, errno.Error())
	case errors.As(err, &lookup):
		known = append(known, "its host name was not found")
	case errors.As(err, &status):
		known = append(known, fmt.Sprintf("it answered %d", status.HTTPStatusCode()))
	}
	return strings.Join(append(known, fmt.Sprintf("an error of type %T, whose text is not shown because it may hold a secret", err)), "; ")
}
