// Package rules makes a vendor of a file: hosts, where the credential goes, operations, what each can cost, what its
// replies prove and what they say that it did cost, in YAML or JSON and without code.
//
// A number is read from the call's headers, query, form or JSON, or from the reply's JSON, and joined with sums, products,
// the greatest of several and rows of a table. Nothing is rounded on the way; a line is rounded up once, to micro-units of
// money or to a whole count. What cannot be read of a call refuses it; what a table has no price for has no known cost,
// so that it needs a ceiling; what cannot be read of a reply leaves the hold standing.
//
// A file has no memory. What a call needs to know of an earlier one is looked up at the vendor before it, or is what
// an object holds in the ledger since then.
//
// What a file cannot say is several operations in one call. That needs an adapter in Go, as the packages beside this one are.
//
// Files for some vendors are here: see [Shipped].
package rules

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/keybrake/keybrake-go/internal/document"
	"github.com/keybrake/keybrake-go/vendors"
)

// Tables are rows of a file's tables, by table and name: prices, in decimal.
type Tables map[string]map[string]string

// Load makes a vendor of a file whose name ends in .json, .yaml or .yml; see [Parse].
func Load(path string) (vendors.Vendor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return vendors.Vendor{}, fmt.Errorf("rules: %w", err)
	}
	return Parse(path, data)
}

// Parse makes a vendor of a file's text. name is what errors call the file, and its end says what it is: .json, .yaml or
// .yml. Unknown and repeated fields, values of another type and, in YAML, anchors, aliases, merge keys, tags and a second
// document are errors, and so is what could not be right: each names its line, column and field.
func Parse(name string, data []byte) (vendors.Vendor, error) { return parse(name, data, nil) }

//go:embed files/*.yaml
var shipped embed.FS

// Names are the vendors that [Shipped] has.
func Names() []string {
	entries, _ := shipped.ReadDir("files")
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Source is the text of the file that [Shipped] reads, to be changed and loaded; nil for a name that there is none of.
func Source(name string) []byte {
	data, _ := shipped.ReadFile(path.Join("files", name+".yaml"))
	return data
}

// Shipped makes a vendor that has a file here: see [Names]. tables are the prices that the file leaves to its user, or has
// otherwise: a row here takes the place of the file's. Without them, calls that need one have no known cost.
func Shipped(name string, tables Tables) (vendors.Vendor, error) {
	data := Source(name)
	if data == nil {
		return vendors.Vendor{}, fmt.Errorf("rules: no file for %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return parse(name+".yaml", data, tables)
}

//go:embed rules.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of rule files, for editors: a YAML file names it in a first line
// "# yaml-language-server: $schema=…". The parser is stricter than a schema can be and does not use it.
func Schema() []byte { return bytes.Clone(schema) }

func parse(name string, data []byte, own Tables) (vendors.Vendor, error) {
	in := document.YAML
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".json":
		in = document.JSON
	case ".yaml", ".yml":
	default:
		return vendors.Vendor{}, fmt.Errorf("rules: %s: the name ends in none of .json, .yaml and .yml", name)
	}
	f := &file{}
	if err := shape.Read(name, data, in, f, f.faults); err != nil {
		return vendors.Vendor{}, err
	}
	tables, err := f.tables(own)
	if err != nil {
		return vendors.Vendor{}, fmt.Errorf("rules: %s: %w", name, err)
	}
	return f.vendor(tables), nil
}

// tables are the file's rows with the user's own over them.
func (f *file) tables(own Tables) (Tables, error) {
	all := Tables{}
	for name, t := range f.Tables {
		all[name] = map[string]string{}
		for k, v := range t.Rows {
			all[name][k] = v
		}
	}
	for name, rows := range own {
		if all[name] == nil {
			return nil, fmt.Errorf("there is no table %q", name)
		}
		for k, v := range rows {
			if _, err := decimal(v); err != nil {
				return nil, fmt.Errorf("table %q, row %q: %w", name, k, err)
			}
			all[name][k] = v
		}
	}
	return all, nil
}
