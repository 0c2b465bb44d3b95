package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/keybrake/keybrake-go/internal/document"
)

// Load reads a policy from a file whose name ends in .json, .yaml or .yml; see [ParseJSON] and [ParseYAML].
func Load(path string) (Policy, error) {
	parse := ParseYAML
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".json":
		parse = ParseJSON
	case ".yaml", ".yml":
	default:
		return Policy{}, fmt.Errorf("policy: %s: the name ends in none of .json, .yaml and .yml", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	return parse(path, data)
}

// ParseJSON reads a policy from JSON and validates it. name is what errors call the file. Unknown and repeated
// fields, null, empty strings in a field and values of another type are errors; each names its line, column and field, and all are
// reported together.
func ParseJSON(name string, data []byte) (Policy, error) { return parse(name, data, document.JSON) }

// ParseYAML reads a policy from YAML and validates it, as strictly as [ParseJSON] does. Beyond that it refuses
// anchors, aliases, merge keys, tags and a second document, and takes for a string only what all readers of YAML
// do: a phone number or a count has to stand in quotes.
func ParseYAML(name string, data []byte) (Policy, error) { return parse(name, data, document.YAML) }

var shape = document.Shape{
	Texts: map[reflect.Type]string{reflect.TypeFor[Amount](): "write money as a string with its currency, such as \"50 USD\""},
	Empty: []string{"allow", "budgets"}, // elsewhere an empty list would mean the opposite of what it says
}

func parse(name string, data []byte, in document.Format) (Policy, error) {
	var p Policy
	err := shape.Read(name, data, in, &p, func() []*document.Fault { return p.faults() })
	if err != nil {
		return Policy{}, err
	}
	return p, nil
}

// JSON writes p as [ParseJSON] reads it. A policy that is not valid is an error.
func (p Policy) JSON() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Allow == nil {
		p.Allow = []Rule{} // null is no list
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(p)
	return b.Bytes(), err
}

// Digest names p in records: the first 16 bytes of the SHA-256 of its JSON, in hex. Of a policy that is not valid it is empty.
func (p Policy) Digest() string {
	text, err := p.JSON()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// YAML writes p as [ParseYAML] reads it, with every value in quotes. A policy that is not valid is an error.
// (JSON is YAML too; this form is for people.)
func (p Policy) YAML() ([]byte, error) {
	data, err := p.JSON()
	if err != nil {
		return nil, err
	}
	return document.AsYAML(data)
}
