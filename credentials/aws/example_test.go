package aws_test

import (
	"context"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/aws"
)

// References of both services in one source. It asks nobody yet; keybrake.New does.
func ExampleNew() {
	source := aws.New(map[string]aws.Reference{
		"stripe":      aws.Secret{ID: "prod/stripe"}, // at AWSCURRENT
		"stripe-next": aws.Secret{ID: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/stripe-AbCdEf", VersionStage: "AWSPENDING"},
		"twilio":      aws.Secret{ID: "prod/twilio", Fields: []string{"account_sid", "key_sid", "key_secret"}},
		"resend":      aws.Parameter{Name: "/prod/resend"},
		"resend-3":    aws.Parameter{Name: "/prod/resend:3"},
	}, &aws.Options{Timeout: 5 * time.Second})
	var _ credentials.Source = source // for keybrake.Config.Credentials

	_, err := source.Get(context.Background(), "paypal")
	fmt.Println(err)
	// Output: credentials: unknown reference "paypal"
}
