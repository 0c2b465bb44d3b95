package kbstripe_test

import (
	"testing"

	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/vendortest"
)

func TestConformance(t *testing.T) {
	vectors, err := vendortest.ReadWire("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	vendortest.Run(t, vendortest.Kit{
		Vendor:  kbstripe.New(nil),
		Vectors: vectors,
		Over:    []string{"pi-create-above-bound", "refund-above", "v2-outbound-more", "invoice-pay-more"},
	})
}
