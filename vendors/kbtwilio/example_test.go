package kbtwilio_test

import (
	"fmt"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// A card of one's own prices. What it does not name is refused.
func ExampleNew() {
	card := kbtwilio.DefaultRates()
	fmt.Println(card.Currency)
	_, err := vendors.NewTable([]vendors.Vendor{kbtwilio.New(&kbtwilio.Options{Rates: &card})})
	fmt.Println(err)
	// Output:
	// USD
	// <nil>
}

func ExampleSegments() {
	fmt.Println(kbtwilio.Segments("Your refund is on its way."))
	fmt.Println(kbtwilio.Segments(strings.Repeat("a", 161)))
	fmt.Println(kbtwilio.Segments(strings.Repeat("ж", 71)))
	// Output:
	// 1
	// 2
	// 2
}
