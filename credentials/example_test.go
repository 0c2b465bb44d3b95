package credentials_test

import (
	"context"
	"fmt"

	"github.com/keybrake/keybrake-go/credentials"
)

func ExampleStatic() {
	s := credentials.Static(map[string]string{"stripe": "sk_test_123"})
	c, err := s.Get(context.Background(), "stripe")
	fmt.Printf("%v %+v %v\n", c, c, err)
	_, err = s.Get(context.Background(), "twilio")
	fmt.Println(err)
	// Output:
	// [credential] [credential] <nil>
	// credentials: unknown reference "twilio"
}

func ExampleEnv() {
	e := credentials.Env{"stripe": "EXAMPLE_STRIPE_KEY", "twilio": "EXAMPLE_TWILIO_CREDENTIAL"}
	fmt.Println(credentials.Check(context.Background(), e))
	// Output:
	// credentials: unknown reference "stripe": the environment variable EXAMPLE_STRIPE_KEY is not set or empty
	// credentials: unknown reference "twilio": the environment variable EXAMPLE_TWILIO_CREDENTIAL is not set or empty
}
