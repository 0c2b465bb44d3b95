package keybrake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/vendors"
)

// fetch asks the source for a credential. A panic of the source is an error of no text: what it panics with may be the
// secret.
func (b *Brake) fetch(ctx context.Context, ref string) (c credentials.Credential, err error) {
	err = contain(func() (err error) { c, err = b.creds.Get(ctx, ref); return err })
	return c, told(err)
}

// place reads a credential as the vendor's. An adapter's error may quote what it cannot read.
func place(v *vendors.Vendor, c credentials.Credential) (p vendors.Placement, err error) {
	parts := c.Reveal()
	secrets := slices.Clone(parts)
	for _, part := range parts { // one string may hold several
		secrets = append(secrets, strings.Split(part, ":")...)
	}
	if err = contain(func() (err error) { p, err = v.Place(parts); return err }); err != nil {
		return vendors.Placement{}, errors.New(scrub(vendors.Placement{Secrets: secrets}, err.Error()))
	}
	return p, nil
}

// A fetchError is what may be told of why a source gave no credential. Not the source's own text: a store, a proxy before
// it or a library may have written the secret into it, or the token with which the store is read. The source's error is
// found by [errors.Is] and by nothing that would show it.
type fetchError struct {
	text string
	is   func(error) bool
}

func (e *fetchError) Error() string        { return e.text }
func (e *fetchError) Is(target error) bool { return e.is(target) }

// told is err, of a source of credentials, as it may be shown: the words of each [credentials.Fault] in it, and of
// everything else the kind alone.
func told(err error) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, told(e))
		}
		return errors.Join(all...)
	}
	e := &fetchError{is: func(target error) bool { return errors.Is(err, target) }}
	var fault *credentials.Fault
	if errors.As(err, &fault) {
		e.text = fault.Error()
	} else {
		e.text = "the source of credentials failed: " + kindOf(err)
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
	case errors.Is(err, credentials.ErrUnknown):
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
