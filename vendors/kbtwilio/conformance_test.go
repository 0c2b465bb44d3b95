package kbtwilio_test

import (
	"testing"

	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/keybrake/keybrake-go/vendors/vendortest"
)

func TestConformance(t *testing.T) {
	vectors, err := vendortest.ReadWire("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	vendortest.Run(t, vendortest.Kit{
		Vendor:  kbtwilio.New(nil),
		Vectors: vectors,
		Over:    []string{"settle-above-the-bound", "settle-more-segments"},
		Account: "AC0123456789abcdef0123456789abcdef",
	})
}
