package aws

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"syscall"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/keybrake/keybrake-go/credentials"
)

// refused is a reason in our own words.
type refused string

func (r refused) Error() string { return string(r) }

const errIdentity = refused("the credential chain gave no AWS identity; try: aws sts get-caller-identity")

// absent are the codes that say that there is nothing of that name. InvalidRequestException, on a read, is a secret that
// is scheduled for deletion: whoever deletes one wants it used no more.
var absent = []string{"ResourceNotFoundException", "InvalidRequestException", "ParameterNotFound", "ParameterVersionNotFound"}

// present are the other codes that the two operations and all services document (API references, November 2026).
var present = []string{
	"DecryptionFailure", "InternalServiceError", "InvalidParameterException",
	"InternalServerError", "InvalidKeyId", "ParameterVersionLabelLimitExceeded",
	"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException", "InternalFailure",
	"InvalidClientTokenId", "InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationTokenException",
	"NotAuthorized", "OptInRequired", "RequestAbortedException", "RequestEntityTooLargeException", "RequestExpired", "RequestTimeoutException",
	"ServiceUnavailable", "Throttling", "ThrottlingException", "UnknownOperationException", "UnrecognizedClientException", "ValidationError", "ValidationException",
}

var regionForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// failure says what became of the request for ref without a word of the service's: neither its text nor the SDK's error,
// which holds it, is wrapped.
func failure(ctx context.Context, ref, service, region string, err error) error {
	if !regionForm.MatchString(region) {
		region = "no region"
	}
	where := fmt.Sprintf("%s (%s): ", service, region)
	if ctx.Err() != nil {
		return &credentials.Fault{Ref: ref, Why: where + "no answer in time", Err: context.Cause(ctx)}
	}
	var (
		api  smithy.APIError
		none missing
	)
	fault := &credentials.Fault{Ref: ref, Why: where + why(err)}
	if errors.As(err, &api) && slices.Contains(absent, api.ErrorCode()) || errors.As(err, &none) {
		fault.Err = credentials.ErrUnknown
	}
	return fault
}

// why is in our words, the operating system's, or a documented code's. A code that nobody documents could be anything that
// the other side chose to send.
func why(err error) string {
	var (
		own      refused
		none     missing
		api      smithy.APIError
		response *awshttp.ResponseError
		errno    syscall.Errno
		name     *net.DNSError
		cert     *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &own):
		return string(own)
	case errors.As(err, &none):
		return string(none)
	case errors.Is(err, errPlain):
		return errPlain.Error()
	case errors.As(err, &api) && (slices.Contains(absent, api.ErrorCode()) || slices.Contains(present, api.ErrorCode())):
		return api.ErrorCode() + status(err)
	case errors.As(err, &response) && response.HTTPStatusCode() != 0: // 0 is no answer at all
		return "an answer without a documented error code" + status(err)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &name):
		return "the name of the endpoint cannot be resolved"
	case errors.As(err, &cert):
		return "the endpoint's certificate is not accepted"
	default:
		return "no answer that can be read"
	}
}

func status(err error) string {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return ""
	}
	return fmt.Sprintf(" (HTTP %d)", response.HTTPStatusCode())
}
