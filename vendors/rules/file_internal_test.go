package rules

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The schema and the structs name the same fields, and the schema allows no others.
func TestSchemaFields(t *testing.T) {
	var top map[string]any
	if err := json.Unmarshal(schema, &top); err != nil {
		t.Fatal(err)
	}
	defs := top["$defs"].(map[string]any)
	for _, typ := range []reflect.Type{
		reflect.TypeFor[file](), reflect.TypeFor[credential](), reflect.TypeFor[part](), reflect.TypeFor[table](), reflect.TypeFor[refusal](), reflect.TypeFor[operation](),
		reflect.TypeFor[condition](), reflect.TypeFor[line](), reflect.TypeFor[currency](), reflect.TypeFor[outcome](), reflect.TypeFor[settle](),
		reflect.TypeFor[stream](), reflect.TypeFor[source](), reflect.TypeFor[expr](), reflect.TypeFor[minor](), reflect.TypeFor[lookup](),
		reflect.TypeFor[look](), reflect.TypeFor[held](), reflect.TypeFor[state](), reflect.TypeFor[reconcile](),
	} {
		d := top
		if typ.Name() != "file" {
			var ok bool
			if d, ok = defs[typ.Name()].(map[string]any); !ok {
				t.Errorf("the schema has no %s", typ.Name())
				continue
			}
			delete(defs, typ.Name())
		}
		got := slices.Sorted(maps.Keys(d["properties"].(map[string]any)))
		var want []string
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			want = append(want, name)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) || d["additionalProperties"] != false {
			t.Errorf("%s: the schema has %v, the struct %v", typ.Name(), got, want)
		}
	}
	if len(defs) > 0 {
		t.Errorf("the schema has %v besides", slices.Collect(maps.Keys(defs)))
	}
}
