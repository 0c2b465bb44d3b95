package gcp_test

import (
	"context"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/gcp"
)

// A source of three secrets. It asks nobody yet; keybrake.New does.
func ExampleNew() {
	source := gcp.New(map[string]gcp.Secret{
		"stripe": {Name: "projects/acme/secrets/stripe"},                           // the latest version
		"twilio": {Name: "projects/acme/secrets/twilio", Version: "7"},             // ACxxx:SKxxx:secret in one text
		"resend": {Name: "projects/acme/locations/europe-west3/secrets/mail-send"}, // a regional secret
	}, &gcp.Options{Timeout: 5 * time.Second})
	var _ credentials.Source = source // for keybrake.Config.Credentials

	_, err := source.Get(context.Background(), "paypal")
	fmt.Println(err)
	// Output: credentials: unknown reference "paypal"
}
