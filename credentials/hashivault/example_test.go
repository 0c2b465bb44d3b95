package hashivault_test

import (
	"context"
	"fmt"
	"os"

	"github.com/keybrake/keybrake-go/credentials/hashivault"
)

func ExampleNew() {
	source := hashivault.New("https://vault.example.com:8200", hashivault.AppRole(os.Getenv("VAULT_ROLE_ID"), os.Getenv("VAULT_SECRET_ID")),
		map[string]hashivault.Secret{
			"stripe": {Mount: "secret", Path: "payments/stripe", Fields: []string{"secret_key"}},
			"twilio": {Mount: "secret", Path: "payments/twilio", Fields: []string{"account_sid", "key_sid", "key_secret"}},
			"resend": {Engine: hashivault.KV1, Mount: "kv", Path: "mail/resend", Fields: []string{"api_key"}},
			"ledger": {Engine: hashivault.Leased, Mount: "consul", Path: "creds/payments", Fields: []string{"token"}},
		}, nil)
	fmt.Println(source.Refs())
	_, err := source.Get(context.Background(), "paypal")
	fmt.Println(err)
	// Output:
	// [ledger resend stripe twilio]
	// credentials: unknown reference "paypal"
}

// In a pod, at a Vault with a certificate of a private authority and a namespace.
func ExampleKubernetes() {
	source := hashivault.New("https://vault.internal:8200", hashivault.Kubernetes("keybrake", "").At("kubernetes-eu"),
		map[string]hashivault.Secret{
			"stripe": {Mount: "secret", Path: "payments/stripe", Version: 7, Fields: []string{"secret_key"}},
		}, &hashivault.Options{Namespace: "admin/payments", RootCAs: nil /* an x509.CertPool */})
	fmt.Println(source.Refs())
	// Output: [stripe]
}
