package kbresend_test

import (
	"testing"

	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/vendortest"
)

func TestConformance(t *testing.T) {
	vectors, err := vendortest.ReadWire("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	vendortest.Run(t, vendortest.Kit{
		Vendor:  kbresend.New(&kbresend.Options{PricePerBroadcastRecipient: "0.0004"}),
		Vectors: vectors,
	})
}
