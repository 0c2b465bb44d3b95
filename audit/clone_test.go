package audit_test

import (
	"reflect"
	"testing"

	"github.com/keybrake/keybrake-go/audit/audittest"
)

func TestACloneSharesNothing(t *testing.T) {
	r := audittest.Full()
	c := r.Clone()
	if !reflect.DeepEqual(r, c) {
		t.Errorf("got %+v", c)
	}
	shareNothing(t, "Record", reflect.ValueOf(r), reflect.ValueOf(c))
}

func shareNothing(t *testing.T, path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Slice, reflect.Pointer, reflect.Map:
		if a.Type().String() == "*time.Location" {
			return
		}
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
		}
	}
	switch a.Kind() {
	case reflect.Slice:
		shareNothing(t, path+"[0]", a.Index(0), b.Index(0))
	case reflect.Pointer:
		shareNothing(t, "*"+path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			shareNothing(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	}
}
