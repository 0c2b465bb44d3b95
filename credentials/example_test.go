package credentials_test

import (
	"context"
	"fmt"
	"time"

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

// A credential prints as nothing, whatever is done with it.
func ExampleNew() {
	c := credentials.New("AC0123", "SK0123", "the secret")
	fmt.Printf("%v %+v %#v %s\n", c, c, c, fmt.Sprint([]any{c}))
	// Output: [credential] [credential] [credential] [[credential]]
}

// A source of one's own, asked at most once in five minutes for each reference.
func ExampleNewCache() {
	asked := 0
	source := credentials.SourceFunc(func(_ context.Context, ref string) (credentials.Credential, error) {
		asked++
		return credentials.New("sk_test_of_" + ref), nil
	})
	cache := credentials.NewCache(source, 5*time.Minute, nil)
	for range 3 {
		_, _ = cache.Get(context.Background(), "stripe")
	}
	fmt.Println(asked)
	cache.Drop("stripe") // the vendor refused it
	_, _ = cache.Get(context.Background(), "stripe")
	fmt.Println(asked)
	// Output:
	// 1
	// 2
}
