package onepassword_test

import (
	"fmt"
	"os"

	"github.com/keybrake/keybrake-go/credentials/onepassword"
)

func ExampleConnect() {
	source := onepassword.Connect("http://localhost:8080", os.Getenv("OP_CONNECT_TOKEN"), map[string]onepassword.Item{
		"stripe": {Vault: "Payments", Item: "Stripe live", Fields: []string{"secret key"}},
		"twilio": {Vault: "Payments", Item: "Twilio", Fields: []string{"api/account sid", "api/key sid", "api/secret"}},
	}, nil)
	fmt.Println(source.Refs())
	// Output: [stripe twilio]
}

func ExampleServiceAccount() {
	source := onepassword.ServiceAccount(os.Getenv("OP_SERVICE_ACCOUNT_TOKEN"), map[string]onepassword.Item{
		"stripe": {Vault: "Payments", Item: "Stripe live", Fields: []string{"secret key"}},
	}, nil)
	fmt.Println(source.Refs())
	// Output: [stripe]
}
