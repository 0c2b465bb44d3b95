package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrField says that a secret lacks one of the fields that are to be its parts.
var ErrField = errors.New("a field is missing")

// Strings takes the named fields out of a JSON object, in the order of the names. Each has to be a string that is not
// empty. An error names a field and never a value.
func Strings(object json.RawMessage, names []string) ([]string, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return nil, errors.New("the answer is not of the documented form")
	}
	var parts []string
	for _, name := range names {
		var value string
		switch raw, ok := fields[name]; {
		case !ok:
			return nil, fmt.Errorf("%w: the secret has no %q", ErrField, name)
		case json.Unmarshal(raw, &value) != nil:
			return nil, fmt.Errorf("%w: %q is not a string", ErrField, name)
		case value == "":
			return nil, fmt.Errorf("%w: %q is empty", ErrField, name)
		}
		parts = append(parts, value)
	}
	return parts, nil
}
