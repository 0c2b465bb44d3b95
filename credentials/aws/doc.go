// Package aws gets real credentials from AWS: from Secrets Manager and from SSM Parameter Store, through the AWS SDK
// for Go v2. It is a module of its own, so that only who imports it has the SDK.
//
//	source := aws.New(map[string]aws.Reference{
//		"stripe": aws.Secret{ID: "prod/stripe"},
//		"twilio": aws.Secret{ID: "prod/twilio", Fields: []string{"account_sid", "key_sid", "key_secret"}},
//		"resend": aws.Parameter{Name: "/prod/resend"},
//	}, nil)
//	brake, err := keybrake.New(ctx, keybrake.Config{Credentials: source, …})
//
// # Who asks
//
// Without [Options.Config] the SDK's default chain finds region and identity, as it does for the aws command:
// environment, shared configuration files, SSO, web identity (IRSA), the container's and the instance's role. It is
// asked at the first Get, which keybrake.New makes; [New] does no I/O and does not fail.
//
// The identity needs, and should have no more than:
//
//	{"Version": "2012-10-17", "Statement": [
//	  {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue",
//	   "Resource": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/stripe-??????"},
//	  {"Effect": "Allow", "Action": "ssm:GetParameter",
//	   "Resource": "arn:aws:ssm:eu-central-1:123456789012:parameter/prod/resend"},
//	  {"Effect": "Allow", "Action": "kms:Decrypt",
//	   "Resource": "arn:aws:kms:eu-central-1:123456789012:key/…"}
//	]}
//
// kms:Decrypt is needed where the value is encrypted with a key of one's own, not with aws/secretsmanager or aws/ssm.
// The agent must not run under this identity: who may ask the store needs no brake to get the credential.
//
// # Rotation
//
// A secret is read at its stage AWSCURRENT unless the reference pins a version or another stage, and a parameter at
// its newest version unless its name ends in :version or :label. So once rotation has moved AWSCURRENT, the next Get
// returns the new value; the brake asks again when its short cache has run out, or at once after the vendor has
// answered 401.
//
// # What is refused
//
// Binary secrets, parameters that are not a SecureString (they lie in clear, and ssm:GetParameter alone reads them), empty
// values, fields that are missing, empty or no string, and replies beyond 1 MiB. Redirects are not followed and plain
// http is spoken to this machine alone, whatever endpoint or HTTP client is configured. The client's logging is off:
// it can log bodies.
//
// # Errors
//
// An error is a [*credentials.Fault] (of credentials.Check, several joined). It names the reference, the service, its
// region, the error code if it is a documented one and the HTTP status, and nothing else that the service said: no message,
// no value, no name of a secret. It wraps credentials.ErrUnknown where there is no such secret, version, stage, parameter or
// field, where it is empty, or where the secret is scheduled for deletion. Any other means that the store could not be asked
// or that the value has not the stated form. An error because the context has ended, or [Options.Timeout], wraps its cause.
//
// # Tested against
//
// The real SDK, with its default chain, against a local server that stands in for both services: it recomputes the
// signature of each request (Signature Version 4), checks target, protocol, session token and region, keeps versions
// and stages, and answers in the documented forms (API references of Secrets Manager and Systems Manager, November
// 2026). Not tested against AWS itself.
package aws
