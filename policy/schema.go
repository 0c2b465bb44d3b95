package policy

import (
	"bytes"
	_ "embed"
)

//go:embed policy.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of policy files, for editors: a YAML file names it in a first
// line "# yaml-language-server: $schema=…". The parsers here are stricter than a schema can be and do not use it.
func Schema() []byte { return bytes.Clone(schema) }
