// Command catalogue writes Stripe's catalogue, vendors/kbstripe/catalogue.tsv, or with an argument that file. Run it
// in internal/stripemock, as go run ./cmd/catalogue, after stripe-mock in go.mod or review.tsv has changed.
package main

import (
	"log"
	"os"

	"github.com/keybrake/keybrake-go/internal/stripemock"
)

func main() {
	file := "../../vendors/kbstripe/catalogue.tsv"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	text, err := stripemock.Catalogue()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // a source file, for all to read
		log.Fatal(err)
	}
}
