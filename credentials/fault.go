package credentials

import "fmt"

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
