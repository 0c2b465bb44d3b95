package aws

import (
	"errors"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// maxReply is more than any reply: a secret is at most 64 KiB, which JSON can make six times as long.
const maxReply = 1 << 20

var errPlain = errors.New("the endpoint is plain http on another machine")

// A guarded client sends what the client in it sends, but nothing in clear to another machine, and reads no more than
// maxReply.
type guarded struct {
	aws.HTTPClient
}

func (g guarded) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) {
		return nil, errPlain
	}
	res, err := g.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	res.Body = http.MaxBytesReader(nil, res.Body, maxReply)
	return res, nil
}

// guard also has redirects returned and not followed: net/http takes the signature off on the way to another host, but
// not the session token, and the SDK's own client lets a 307 or 308 pass wherever the body can be sent again. A client of
// another type than these two decides for itself.
func guard(c aws.HTTPClient) aws.HTTPClient {
	switch client := c.(type) {
	case nil:
		return guard(awshttp.NewBuildableClient())
	case *awshttp.BuildableClient:
		return guard(&http.Client{Transport: client.GetTransport(), Timeout: client.GetTimeout()})
	case *http.Client:
		still := *client
		still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return guarded{&still}
	default:
		return guarded{c}
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
