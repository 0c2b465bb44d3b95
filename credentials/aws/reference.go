package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// A Reference says where a credential lies: a [Secret] or a [Parameter].
type Reference interface {
	// service is its name for a person.
	service() string
	// region is that of the reference, "" if it names none.
	region() string
	// read asks the service for the value.
	read(ctx context.Context, cfg aws.Config) (string, error)
	// fields are the names in the order of the credential's parts, none if the whole value is one part.
	fields() []string
}

// A Secret is one secret of AWS Secrets Manager.
type Secret struct {
	ID           string   // name or ARN; an ARN is asked for in its own region
	VersionID    string   // pins a version; empty means that of the stage
	VersionStage string   // a staging label; empty means AWSCURRENT unless VersionID is given
	Fields       []string // the value is a JSON object, and these of its strings are the credential's parts; none: the whole value is one
}

func (Secret) service() string    { return "AWS Secrets Manager" }
func (s Secret) region() string   { return regionOf(s.ID) }
func (s Secret) fields() []string { return s.Fields }

func (s Secret) read(ctx context.Context, cfg aws.Config) (string, error) {
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
		SecretId: &s.ID, VersionId: given(s.VersionID), VersionStage: given(s.VersionStage),
	})
	if err != nil {
		return "", err
	}
	if out.SecretString == nil {
		return "", refused("the secret has no text; a binary one is no credential")
	}
	return *out.SecretString, nil
}

// A Parameter is one parameter of SSM Parameter Store, a SecureString.
type Parameter struct {
	Name   string   // name or ARN, with :version or :label at its end if it is not the newest that is wanted; an ARN is asked for in its own region
	Fields []string // as in [Secret]
}

func (Parameter) service() string    { return "AWS SSM Parameter Store" }
func (p Parameter) region() string   { return regionOf(p.Name) }
func (p Parameter) fields() []string { return p.Fields }

func (p Parameter) read(ctx context.Context, cfg aws.Config) (string, error) {
	out, err := ssm.NewFromConfig(cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: &p.Name, WithDecryption: aws.Bool(true)})
	if err != nil {
		return "", err
	}
	if out.Parameter == nil || out.Parameter.Type != types.ParameterTypeSecureString {
		// As a key file that others may read: it is refused while the credential can still be moved and changed.
		return "", refused("the parameter is not a SecureString, so it lies in clear; store it anew with --type SecureString and change the credential")
	}
	return aws.ToString(out.Parameter.Value), nil
}

// given is nil for what is not given: an empty string would be sent, and be an error.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// regionOf is the region that an ARN names (arn:partition:service:region:account:resource), "" for a plain name.
func regionOf(name string) string {
	part := strings.SplitN(name, ":", 6)
	if len(part) < 6 || part[0] != "arn" {
		return ""
	}
	return part[3]
}
