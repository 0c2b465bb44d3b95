package doppler_test

import (
	"fmt"
	"os"

	"github.com/keybrake/keybrake-go/credentials/doppler"
)

func ExampleNew() {
	source := doppler.New(os.Getenv("DOPPLER_TOKEN"), map[string][]string{
		"stripe": {"STRIPE_SECRET_KEY"},
		"twilio": {"TWILIO_ACCOUNT_SID", "TWILIO_KEY_SID", "TWILIO_KEY_SECRET"},
	}, nil)
	fmt.Println(source.Refs())
	// Output: [stripe twilio]
}
