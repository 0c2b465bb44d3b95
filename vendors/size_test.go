package vendors_test

import (
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
)

func TestSizeIsThatOfTheDocumentWithoutSpace(t *testing.T) {
	for _, compact := range []string{
		`null`, `true`, `false`, `0`, `-1.50e3`, `""`, `"ab"`, `"é世"`, `[]`, `[1]`, `[1,"a",null]`, `{}`, `{"a":1}`, `{"a":[{"b":true},{}],"é":"x","":null}`,
	} {
		for _, body := range []string{compact, "  " + compact + "\n"} {
			tree, err := vendors.DecodeJSON([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := vendors.Size(tree); n != int64(len(compact)) || !ok {
				t.Errorf("%s: %d, %t", body, n, ok)
			}
		}
	}
	tree, err := vendors.DecodeJSON([]byte(`{"a":["\u00e9\n"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := vendors.Size(tree); n != int64(len("{'a':['é\n']}")) {
		t.Errorf("an escape counts as what it stands for: %d", n)
	}
	tree, err = vendors.DecodeJSON([]byte("[[1" + strings.Repeat(",1", 30_000) + "]]"))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := vendors.Size(tree); ok {
		t.Errorf("a list that was cut short: %d", n)
	}
}
