package aws

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A missing reason is one in our own words, too, and says that there is no such credential.
type missing string

func (m missing) Error() string { return string(m) }

const errEmpty = missing("the value is empty")

// split makes the parts of a credential from a value: the whole value, or the named fields of the JSON object in it. One
// newline at the end of a part is dropped, as of a file that the value was stored from. No error quotes the value.
func split(value string, fields []string) ([]string, error) {
	if len(fields) == 0 {
		value = trim(value)
		if value == "" {
			return nil, errEmpty
		}
		return []string{value}, nil
	}
	var object map[string]any
	if json.Unmarshal([]byte(value), &object) != nil || object == nil {
		return nil, refused("the value is not a JSON object, and the reference names fields of one")
	}
	parts := make([]string, len(fields))
	for i, field := range fields {
		v, ok := object[field]
		part, text := v.(string)
		switch {
		case ok && !text:
			return nil, refused(fmt.Sprintf("the field %q is not a string", field))
		case trim(part) == "":
			return nil, missing(fmt.Sprintf("the field %q is missing or empty", field))
		}
		parts[i] = trim(part)
	}
	return parts, nil
}

func trim(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }
