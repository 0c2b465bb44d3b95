// Package twiliocatalogue makes the catalogue of vendors/kbtwilio out of twilio-go's source and a file of reviewed
// rules. It reads files and no network. The test of this package compares what it makes with what is embedded, and
// writes it when UPDATE_CATALOGUE is set:
//
//	UPDATE_CATALOGUE=1 go test ./internal/twiliocatalogue
package twiliocatalogue

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Call is one operation as twilio-go sends it.
type Call struct {
	Product, Version string   // the directories of the SDK: "verify", "v2"
	Func             string   // the SDK's method: "CreateVerification"
	Method           string   // "POST"
	Host, Path       string   // "verify.twilio.com", "/v2/Services/{ServiceSid}/Verifications"
	JSON             bool     // the body is a document; else it is a form
	Params           []string // names as a schema has them: "To", "MediaUrl[*]", "payload[*]"
}

// Surface is every call of the twilio-go whose source is in dir, in the order of its files. What it cannot read is an
// error, so that no operation is left out unseen.
func Surface(dir string) ([]Call, error) {
	packages, err := filepath.Glob(filepath.Join(dir, "rest", "*", "*"))
	if err != nil || len(packages) == 0 {
		return nil, fmt.Errorf("twiliocatalogue: %s holds no twilio-go (%v)", dir, err)
	}
	var calls []Call
	for _, p := range packages {
		if info, err := os.Stat(p); err != nil || !info.IsDir() {
			continue
		}
		found, err := readPackage(p)
		if err != nil {
			return nil, fmt.Errorf("twiliocatalogue: %s: %w", p, err)
		}
		calls = append(calls, found...)
	}
	return calls, nil
}

// A source is one package of the SDK: a version of a product.
type source struct {
	structs map[string]*ast.StructType
	named   map[string]ast.Expr // other types
	host    string
}

func readPackage(dir string) ([]Call, error) {
	s := source{structs: map[string]*ast.StructType{}, named: map[string]ast.Expr{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var funcs []*ast.FuncDecl
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		funcs = append(funcs, s.declare(tree)...)
	}
	if s.host == "" {
		return nil, fmt.Errorf("no base URL")
	}
	var calls []Call
	for _, f := range funcs {
		c, ok, err := s.call(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name.Name, err)
		}
		if ok {
			c.Product, c.Version = filepath.Base(filepath.Dir(dir)), filepath.Base(dir)
			calls = append(calls, c)
		}
	}
	return calls, nil
}

var baseURL = regexp.MustCompile(`^https://([a-z-]+\.twilio\.com)$`)

// declare keeps the types and the base URL of a file and returns its methods on ApiService.
func (s *source) declare(file *ast.File) (funcs []*ast.FuncDecl) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if t, ok := n.Type.(*ast.StructType); ok {
				s.structs[n.Name.Name] = t
			} else {
				s.named[n.Name.Name] = n.Type
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "baseURL" {
				if m := baseURL.FindStringSubmatch(text(n.Value)); m != nil {
					s.host = m[1]
				}
			}
		case *ast.FuncDecl:
			// Each method has a twin that returns the reply's headers too and sends the same.
			if n.Recv != nil && n.Name.IsExported() && !strings.HasSuffix(n.Name.Name, "WithMetadata") {
				funcs = append(funcs, n)
			}
		}
		return true
	})
	return funcs
}

// call reads what f sends; ok is false for a method that sends nothing itself, as List, which calls Page.
func (s *source) call(f *ast.FuncDecl) (c Call, ok bool, err error) {
	c = Call{Func: f.Name.Name, Host: s.host}
	var unread error
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if name, isName := n.Lhs[0].(*ast.Ident); isName && name.Name == "path" && n.Tok == token.DEFINE {
				c.Path = text(n.Rhs[0])
			}
		case *ast.KeyValueExpr:
			if text(n.Key) == "Content-Type" {
				c.JSON = text(n.Value) == "application/json"
			}
		case *ast.CallExpr:
			if err := s.read(f, n, &c); err != nil {
				unread = err
			}
		}
		return true
	})
	if unread != nil || c.Method == "" {
		return c, false, unread
	}
	if !strings.HasPrefix(c.Path, "/") {
		return c, false, fmt.Errorf("it sends to no path")
	}
	slices.Sort(c.Params)
	c.Params = slices.Compact(c.Params)
	return c, true, nil
}

// read takes what one expression of f says about the call: its method, a parameter of its form, its document.
func (s *source) read(f *ast.FuncDecl, n *ast.CallExpr, c *Call) error {
	fun, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	on, verb := last(fun.X), fun.Sel.Name
	switch {
	case on == "requestHandler" && slices.Contains([]string{"Get", "Post", "Put", "Patch", "Delete"}, verb):
		if c.Method != "" {
			return fmt.Errorf("it sends twice")
		}
		c.Method = strings.ToUpper(verb)
	case c.JSON && on == "data":
		return nil // a query beside a document, which the brake refuses
	case on == "data" && (verb == "Set" || verb == "Add"):
		name := text(n.Args[0])
		if name == "" {
			return fmt.Errorf("a parameter's name is not written out")
		}
		if verb == "Add" {
			name += "[*]"
		}
		c.Params = append(c.Params, name)
	case on == "json" && verb == "Marshal":
		if field := documentField(n.Args[0]); field != "" && c.JSON {
			params, err := s.document(f, field)
			c.Params = append(c.Params, params...)
			return err
		}
	}
	return nil
}

// documentField is X in json.Marshal(*params.X).
func documentField(e ast.Expr) string {
	star, ok := e.(*ast.StarExpr)
	if !ok {
		return ""
	}
	if field, ok := star.X.(*ast.SelectorExpr); ok {
		return field.Sel.Name
	}
	return ""
}

// document are the names at the top of the document that f sends from its parameter field.
func (s *source) document(f *ast.FuncDecl, field string) ([]string, error) {
	for _, p := range f.Type.Params.List {
		if len(names(p)) == 1 && names(p)[0] == "params" {
			for _, member := range s.structs[last(p.Type)].Fields.List {
				if slices.Contains(names(member), field) {
					return s.members(member.Type), nil
				}
			}
		}
	}
	return nil, fmt.Errorf("its document %s is of no known type", field)
}

// members are the names of a document of type t. One that is not a struct has names of the caller's choice: none.
func (s *source) members(t ast.Expr) []string {
	switch e := t.(type) {
	case *ast.StarExpr:
		return s.members(e.X)
	case *ast.ArrayType:
		return s.members(e.Elt)
	case *ast.Ident:
		if other, ok := s.named[e.Name]; ok {
			return s.members(other)
		}
	}
	record := s.structs[last(t)]
	if record == nil {
		return nil
	}
	var params []string
	for _, m := range record.Fields.List {
		if m.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(m.Tag.Value)
		name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		if !scalar(m.Type) {
			name += "[*]"
		}
		params = append(params, name)
	}
	return params
}

func scalar(t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if sel, ok := t.(*ast.SelectorExpr); ok {
		return last(sel.X) == "time"
	}
	name, ok := t.(*ast.Ident)
	return ok && slices.Contains([]string{"string", "bool", "int", "int32", "int64", "float32", "float64"}, name.Name)
}

func names(f *ast.Field) (out []string) {
	for _, n := range f.Names {
		out = append(out, n.Name)
	}
	return out
}

// last is the last name of an expression: requestHandler of c.requestHandler.
func last(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.StarExpr:
		return last(e.X)
	}
	return ""
}

// text is the value of a string literal, or empty.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}
