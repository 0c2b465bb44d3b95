//go:build unix

package pgtest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	if a, b := pgtest.Database(t), pgtest.Database(t); a == b || !strings.Contains(a, "@127.0.0.1:") {
		t.Fatalf("%s and %s", a, b)
	}
}
