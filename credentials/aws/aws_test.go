package aws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/logging"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/aws"
)

// filled is a world with one secret of two versions, one in another region, and one parameter of three versions.
func filled(t *testing.T) *world {
	w := newWorld(t)
	w.secrets["prod/stripe"] = &secret{
		region:   "eu-central-1",
		versions: map[string]any{"v1": "sk_old", "v2": "sk_now", "v3": "sk_next"},
		stages:   map[string]string{"AWSPREVIOUS": "v1", "AWSCURRENT": "v2", "AWSPENDING": "v3"},
	}
	w.secrets["prod/far"] = &secret{region: "us-east-1", versions: map[string]any{"v1": "sk_far"}, stages: map[string]string{"AWSCURRENT": "v1"}}
	w.parameters["/prod/resend"] = &parameter{kind: "SecureString", versions: []string{"re_1", "re_2", "re_3"}, labels: map[string]int{"live": 2}}
	return w
}

// holds makes a secret of that value alone.
func (w *world) holds(value any) aws.Secret {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets["one"] = &secret{region: "eu-central-1", versions: map[string]any{"v": value}, stages: map[string]string{"AWSCURRENT": "v"}}
	return aws.Secret{ID: "one"}
}

// config is a configuration that leads to the world, for tests that do not look at the default chain.
func (w *world) config() *sdk.Config {
	return &sdk.Config{
		Region: "eu-central-1", Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return w.identity, nil }),
		HTTPClient: w.Client(), BaseEndpoint: &w.URL, RetryMaxAttempts: 1,
	}
}

func (w *world) source(at aws.Reference) *aws.Source {
	return aws.New(map[string]aws.Reference{"ref": at}, &aws.Options{Config: w.config()})
}

func get(t *testing.T, s credentials.Source, ref string) string {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(c.Reveal(), "|")
}

// refusal is the error of Get. It comes without a credential and repeats nothing of the service's.
func refusal(t *testing.T, s credentials.Source, unknown bool) string {
	t.Helper()
	c, err := s.Get(t.Context(), "ref")
	if err == nil || c.Reveal() != nil {
		t.Fatalf("got %q and %v", c.Reveal(), err)
	}
	if errors.Is(err, credentials.ErrUnknown) != unknown {
		t.Errorf("is it unknown? %v: %v", !unknown, err)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, "CANARY") {
			t.Errorf("repeats what the service said: %s", text)
		}
	}
	return err.Error()
}

// All of it through the SDK's default chain, as a user has it.
func TestWhatAReferenceNames(t *testing.T) {
	w := filled(t)
	w.chain(t)
	w.secrets["prod/twilio"] = &secret{
		region: "eu-central-1", versions: map[string]any{"v": `{"key_secret":"s3cret","account_sid":"AC1","unused":7,"key_sid":"SK1"}`}, stages: map[string]string{"AWSCURRENT": "v"},
	}
	w.parameters["/prod/twilio"] = &parameter{kind: "SecureString", versions: []string{`{"token":"t0ken","sid":"AC2"}`}}
	for name, tt := range map[string]struct {
		at   aws.Reference
		want string
	}{
		"current":                  {aws.Secret{ID: "prod/stripe"}, "sk_now"},
		"by ARN":                   {aws.Secret{ID: arn("eu-central-1", "prod/stripe")}, "sk_now"},
		"by ARN in another region": {aws.Secret{ID: arn("us-east-1", "prod/far")}, "sk_far"},
		"a stage":                  {aws.Secret{ID: "prod/stripe", VersionStage: "AWSPREVIOUS"}, "sk_old"},
		"a version":                {aws.Secret{ID: "prod/stripe", VersionID: "v3"}, "sk_next"},
		"a version and its stage":  {aws.Secret{ID: "prod/stripe", VersionID: "v1", VersionStage: "AWSPREVIOUS"}, "sk_old"},
		"fields in their order":    {aws.Secret{ID: "prod/twilio", Fields: []string{"account_sid", "key_sid", "key_secret"}}, "AC1|SK1|s3cret"},
		"parameter":                {aws.Parameter{Name: "/prod/resend"}, "re_3"},
		"parameter's version":      {aws.Parameter{Name: "/prod/resend:1"}, "re_1"},
		"parameter's label":        {aws.Parameter{Name: "/prod/resend:live"}, "re_2"},
		"parameter by ARN":         {aws.Parameter{Name: "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/resend"}, "re_3"},
		"parameter's fields":       {aws.Parameter{Name: "/prod/twilio", Fields: []string{"sid", "token"}}, "AC2|t0ken"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := get(t, aws.New(map[string]aws.Reference{"ref": tt.at}, nil), "ref"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	for _, call := range []string{"us-east-1 secretsmanager.GetSecretValue", "eu-west-1 AmazonSSM.GetParameter", "eu-central-1 AmazonSSM.GetParameter"} {
		if !slices.Contains(w.called(), call) {
			t.Errorf("no call %s among %q", call, w.called())
		}
	}
}

// When AWSCURRENT has moved, or a parameter has a new version, the next Get gives the new value; what is pinned stays.
func TestRotation(t *testing.T) {
	w := filled(t)
	s := aws.New(map[string]aws.Reference{
		"secret": aws.Secret{ID: "prod/stripe"}, "pinned": aws.Secret{ID: "prod/stripe", VersionID: "v2"}, "parameter": aws.Parameter{Name: "/prod/resend"},
	}, &aws.Options{Config: w.config()})
	if a, b, c := get(t, s, "secret"), get(t, s, "pinned"), get(t, s, "parameter"); a != "sk_now" || b != "sk_now" || c != "re_3" {
		t.Fatalf("before: %s %s %s", a, b, c)
	}
	w.mu.Lock()
	w.secrets["prod/stripe"].stages = map[string]string{"AWSPREVIOUS": "v2", "AWSCURRENT": "v3"}
	w.parameters["/prod/resend"].versions = append(w.parameters["/prod/resend"].versions, "re_4")
	w.mu.Unlock()
	if a, b, c := get(t, s, "secret"), get(t, s, "pinned"), get(t, s, "parameter"); a != "sk_next" || b != "sk_now" || c != "re_4" {
		t.Errorf("after: %s %s %s", a, b, c)
	}
}

func TestRegionOfOptions(t *testing.T) {
	w := filled(t)
	w.chain(t)
	if got := get(t, aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/far"}}, &aws.Options{Region: "us-east-1"}), "ref"); got != "sk_far" {
		t.Errorf("got %s", got)
	}
}

func TestUnknown(t *testing.T) {
	w := filled(t)
	w.secrets["gone"] = &secret{region: "eu-central-1", deleted: true}
	for want, at := range map[string]aws.Reference{
		`credentials: unknown reference "ref": AWS Secrets Manager (eu-central-1): ResourceNotFoundException (HTTP 400)`:    aws.Secret{ID: "no-such"},
		`credentials: unknown reference "ref": AWS Secrets Manager (eu-west-1): ResourceNotFoundException (HTTP 400)`:       aws.Secret{ID: arn("eu-west-1", "prod/stripe")},
		`credentials: unknown reference "ref": AWS Secrets Manager (eu-central-1): InvalidRequestException (HTTP 400)`:      aws.Secret{ID: "gone"},
		`credentials: unknown reference "ref": AWS SSM Parameter Store (eu-central-1): ParameterNotFound (HTTP 400)`:        aws.Parameter{Name: "/no-such"},
		`credentials: unknown reference "ref": AWS SSM Parameter Store (eu-central-1): ParameterVersionNotFound (HTTP 400)`: aws.Parameter{Name: "/prod/resend:9"},
		`credentials: unknown reference "ref"`: nil,
		`credentials: unknown reference "ref": AWS Secrets Manager (eu-central-1): ResourceNotFoundException (HTTP 400)` + " ": aws.Secret{ID: "prod/stripe", VersionID: "v9"},
		`credentials: unknown reference "ref": AWS Secrets Manager (eu-central-1): ResourceNotFoundException (HTTP 400)  `:     aws.Secret{ID: "prod/stripe", VersionID: "v1", VersionStage: "AWSCURRENT"},
	} {
		if got := refusal(t, w.source(at), true); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %s", at, got)
		}
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	fields := func(value string) aws.Secret {
		s := w.holds(value)
		s.Fields = []string{"a", "b"}
		return s
	}
	for _, tt := range []struct {
		at      func() aws.Reference
		unknown bool
		want    string
	}{
		{func() aws.Reference { return w.holds([]byte("\x00" + canary)) }, false, "the secret has no text; a binary one is no credential"},
		{func() aws.Reference { return w.holds([]byte(canary)) }, false, "the secret has no text; a binary one is no credential"},
		{func() aws.Reference { return w.holds("") }, true, "the value is empty"},
		{func() aws.Reference { return w.holds("\r\n") }, true, "the value is empty"},
		{func() aws.Reference { return fields(canary) }, false, "the value is not a JSON object, and the reference names fields of one"},
		{func() aws.Reference { return fields(`["` + canary + `"]`) }, false, "the value is not a JSON object, and the reference names fields of one"},
		{func() aws.Reference { return fields(`null`) }, false, "the value is not a JSON object, and the reference names fields of one"},
		{func() aws.Reference { return fields(`{"a":"` + canary + `"}`) }, true, `the field "b" is missing or empty`},
		{func() aws.Reference { return fields(`{"a":"` + canary + `","b":""}`) }, true, `the field "b" is missing or empty`},
		{func() aws.Reference { return fields(`{"a":"` + canary + `","b":17}`) }, false, `the field "b" is not a string`},
		{func() aws.Reference { return fields(`{"a":"` + canary + `","b":null}`) }, false, `the field "b" is not a string`},
	} {
		got := refusal(t, w.source(tt.at()), tt.unknown)
		if !strings.HasSuffix(got, " "+tt.want) || !strings.Contains(got, `"ref"`) {
			t.Errorf("got %s, want …%s", got, tt.want)
		}
	}
	for _, kind := range []string{"String", "StringList"} {
		w.parameters["/open"] = &parameter{kind: kind, versions: []string{canary}}
		if got := refusal(t, w.source(aws.Parameter{Name: "/open"}), false); !strings.Contains(got, "the parameter is not a SecureString") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// Values are often stored from a file.
func TestOneNewlineIsDropped(t *testing.T) {
	w := newWorld(t)
	for value, want := range map[string]string{"sk\n": "sk", "sk\r\n": "sk", "sk\n\n": "sk\n", " sk ": " sk "} {
		if got := get(t, w.source(w.holds(value)), "ref"); got != want {
			t.Errorf("%q reads as %q", value, got)
		}
	}
	at := w.holds(`{"a":"AC1\n"}`)
	at.Fields = []string{"a"}
	if got := get(t, w.source(at), "ref"); got != "AC1" {
		t.Errorf("a field reads as %q", got)
	}
}

// Whatever the service answers in place of the value, its words do not come back, in no error of the chain.
func TestTheServicesWordsStayThere(t *testing.T) {
	w := filled(t)
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"denied", func(out http.ResponseWriter, _ *http.Request) { refuse(out, 400, "AccessDeniedException") }, "AccessDeniedException (HTTP 400)"},
		{"KMS", func(out http.ResponseWriter, _ *http.Request) { refuse(out, 400, "DecryptionFailure") }, "DecryptionFailure (HTTP 400)"},
		{"in a namespace", func(out http.ResponseWriter, _ *http.Request) {
			refuse(out, 400, "com.amazonaws.secretsmanager#ThrottlingException")
		}, "ThrottlingException (HTTP 400)"},
		{"code in a header", func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("X-Amzn-Errortype", canary)
			answer(out, 400, map[string]any{"message": canary})
		}, "an answer without a documented error code (HTTP 400)"},
		{"a code of its own", func(out http.ResponseWriter, _ *http.Request) { refuse(out, 403, canary) }, "an answer without a documented error code (HTTP 403)"},
		{"broken", func(out http.ResponseWriter, _ *http.Request) { answer(out, 500, canary) }, "an answer without a documented error code (HTTP 500)"},
		{"a page", func(out http.ResponseWriter, _ *http.Request) { http.Error(out, "<h1>"+canary, http.StatusBadGateway) }, "an answer without a documented error code (HTTP 502)"},
		{"no JSON", func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, `{"SecretString":"`+canary) }, "an answer without a documented error code (HTTP 200)"},
		{"not HTTP", func(out http.ResponseWriter, _ *http.Request) {
			conn, _, err := out.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "%s %s\r\n\r\n", canary, canary)
				conn.Close()
			}
		}, "no answer that can be read"},
		{"no version", func(out http.ResponseWriter, _ *http.Request) { answer(out, 200, map[string]any{}) }, "the secret has no text; a binary one is no credential"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.answerInstead(tt.h)
			want := `credentials: "ref": AWS Secrets Manager (eu-central-1): ` + tt.want
			if got := refusal(t, w.source(aws.Secret{ID: "prod/stripe"}), false); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	w.answerInstead(func(out http.ResponseWriter, _ *http.Request) { answer(out, 200, map[string]any{}) })
	if got := refusal(t, w.source(aws.Parameter{Name: "/prod/resend"}), false); !strings.Contains(got, "not a SecureString") {
		t.Errorf("an empty reply for a parameter: %s", got)
	}
}

func TestAStoreOutOfReach(t *testing.T) {
	w := filled(t)
	for endpoint, want := range map[string]string{
		w.URL: "the endpoint's certificate is not accepted", "https://127.0.0.1:1": "connection refused",
	} {
		cfg := w.config()
		cfg.HTTPClient, cfg.BaseEndpoint = nil, &endpoint // the SDK's, which does not know the world's certificate
		s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, &aws.Options{Config: cfg})
		if got := refusal(t, s, false); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", endpoint, got)
		}
	}
}

// What a client of the caller's own fails with is told by its kind alone.
func TestAClientsWords(t *testing.T) {
	for want, err := range map[string]error{
		"the name of the endpoint cannot be resolved": &net.DNSError{Err: canary, Name: canary},
		"no answer that can be read":                  errors.New(canary),
	} {
		cfg := (&world{Server: &httptest.Server{URL: "https://store.example"}}).config()
		cfg.HTTPClient = failing{err}
		s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, &aws.Options{Config: cfg})
		if got := refusal(t, s, false); !strings.HasSuffix(got, want) {
			t.Errorf("got %s", got)
		}
	}
}

type failing struct{ error }

func (f failing) Do(*http.Request) (*http.Response, error) { return nil, f.error }

// With another identity, or none, nothing is given.
func TestIdentity(t *testing.T) {
	w := filled(t)
	at := map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}
	wrong := w.config()
	wrong.Credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{AccessKeyID: "AKIAFAKE", SecretAccessKey: "another", SessionToken: "fake+session=="}, nil
	})
	if got := refusal(t, aws.New(at, &aws.Options{Config: wrong}), false); !strings.HasSuffix(got, "InvalidSignatureException (HTTP 400)") {
		t.Errorf("got %s", got)
	}
	none := w.config()
	none.Credentials = nil
	failing := w.config()
	failing.Credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return sdk.Credentials{}, errors.New(canary) })
	for _, cfg := range []*sdk.Config{none, failing} {
		if got := refusal(t, aws.New(at, &aws.Options{Config: cfg}), false); !strings.HasSuffix(got, "the credential chain gave no AWS identity; try: aws sts get-caller-identity") {
			t.Errorf("got %s", got)
		}
	}
	nowhere := w.config()
	nowhere.Region = ""
	if got := refusal(t, aws.New(at, &aws.Options{Config: nowhere}), false); !strings.HasSuffix(got, "no region is configured; set AWS_REGION or Options.Region") {
		t.Errorf("got %s", got)
	}
}

// A chain that fails is asked again: the machine's role may come later than the program.
func TestTheChainIsAskedAgain(t *testing.T) {
	w := filled(t)
	w.chain(t)
	t.Setenv("AWS_PROFILE", "none-of-that-name")
	s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, nil)
	if got := refusal(t, s, false); !strings.Contains(got, "the shared configuration (AWS_PROFILE, ~/.aws/config) cannot be loaded") {
		t.Errorf("got %s", got)
	}
	t.Setenv("AWS_PROFILE", "")
	if got := get(t, s, "ref"); got != "sk_now" {
		t.Errorf("got %s", got)
	}
}

// Nor is a redirect followed where it could be: net/http would take the session token along.
func TestNoClientFollows(t *testing.T) {
	var hits int
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(out, r, "/again", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	for _, c := range []sdk.HTTPClient{nil, awshttp.NewBuildableClient(), http.DefaultClient} {
		hits = 0
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := aws.Guard(c).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if hits != 1 || res.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%T: %d requests, then %s", c, hits, res.Status)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	w := filled(t)
	w.chain(t)
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1) // another host, which the certificate does not cover
	for _, to := range []string{other.URL, elsewhere, w.URL} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			w.answerInstead(func(out http.ResponseWriter, r *http.Request) { http.Redirect(out, r, to+"/?"+canary, code) })
			before := len(w.called())
			for _, o := range []*aws.Options{nil, {Config: w.config()}} { // the SDK's client, and net/http's
				s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, o)
				if got := refusal(t, s, false); !strings.HasSuffix(got, fmt.Sprintf("an answer without a documented error code (HTTP %d)", code)) {
					t.Errorf("%d to %s: %s", code, to, got)
				}
			}
			if n := len(w.called()) - before; n != 2 {
				t.Errorf("%d to %s: %d requests for 2 calls", code, to, n)
			}
		}
	}
}

// A rounder answers without a network, and notes where to.
type rounder struct {
	hosts []string
}

func (r *rounder) Do(req *http.Request) (*http.Response, error) {
	r.hosts = append(r.hosts, req.URL.Host)
	out := httptest.NewRecorder()
	answer(out, 200, map[string]any{"SecretString": "sk_now"})
	return out.Result(), nil
}

func TestPlainHTTPStaysOnThisMachine(t *testing.T) {
	w := filled(t)
	for endpoint, ok := range map[string]bool{
		"http://localhost:4566": true, "http://127.0.0.1:4566": true, "http://[::1]:4566": true, "https://store.example": true,
		"http://store.example": false, "http://10.0.0.7": false, "http://localhost.example": false, "http://127.0.0.1.example": false,
	} {
		r, cfg := &rounder{}, w.config()
		cfg.HTTPClient, cfg.BaseEndpoint = r, &endpoint
		s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, &aws.Options{Config: cfg})
		if ok {
			if got := get(t, s, "ref"); got != "sk_now" || len(r.hosts) != 1 {
				t.Errorf("%s: %s, %q", endpoint, got, r.hosts)
			}
		} else if got := refusal(t, s, false); !strings.HasSuffix(got, "the endpoint is plain http on another machine") || len(r.hosts) != 0 {
			t.Errorf("%s: %s, %q", endpoint, got, r.hosts)
		}
	}
}

func TestRepliesAreBounded(t *testing.T) {
	w := newWorld(t)
	if got := get(t, w.source(w.holds(strings.Repeat("x", 64<<10))), "ref"); len(got) != 64<<10 {
		t.Errorf("the largest secret there is reads as %d bytes", len(got))
	}
	refusal(t, w.source(w.holds(strings.Repeat("x", 1<<20))), false)
}

func TestAStoreThatHangs(t *testing.T) {
	w := filled(t)
	arrived, done := make(chan struct{}, 2), make(chan struct{})
	w.answerInstead(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	defer close(done)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(errors.New("the caller left")) }()
	_, err := w.source(aws.Secret{ID: "prod/stripe"}).Get(ctx, "ref")
	if err == nil || err.Error() != `credentials: "ref": AWS Secrets Manager (eu-central-1): no answer in time` || !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("got %v", err)
	}
	hasty := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, &aws.Options{Config: w.config(), Timeout: 20 * time.Millisecond})
	if _, err := hasty.Get(t.Context(), "ref"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// An answer that says "come again" is asked again, within the SDK's bounds; one that is final is not.
func TestRetries(t *testing.T) {
	w := filled(t)
	cfg := w.config()
	cfg.Retryer = func() sdk.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	cfg.RetryMaxAttempts = 3
	s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, &aws.Options{Config: cfg})
	for code, want := range map[string]int{"InternalServiceError": 3, "AccessDeniedException": 1} {
		before := len(w.called())
		w.answerInstead(func(out http.ResponseWriter, _ *http.Request) {
			refuse(out, map[bool]int{true: 500, false: 400}[code == "InternalServiceError"], code)
		})
		refusal(t, s, false)
		if n := len(w.called()) - before; n != want {
			t.Errorf("%s: asked %d times", code, n)
		}
	}
}

func TestOfManyGoroutines(t *testing.T) {
	w := filled(t)
	w.chain(t)
	s := aws.New(map[string]aws.Reference{"a": aws.Secret{ID: "prod/stripe"}, "b": aws.Parameter{Name: "/prod/resend"}}, nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for ref, want := range map[string]string{"a": "sk_now", "b": "re_3"} {
				if c, err := s.Get(t.Context(), ref); err != nil || strings.Join(c.Reveal(), "|") != want {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// The SDK logs bodies where it is told to; here it is told not to. The caller's configuration stays as it was.
func TestNothingIsLogged(t *testing.T) {
	w := filled(t)
	var log bytes.Buffer
	cfg := w.config()
	cfg.Logger, cfg.ClientLogMode = logging.NewStandardLogger(&log), sdk.LogRequestWithBody|sdk.LogResponseWithBody|sdk.LogSigning|sdk.LogRetries
	before := *cfg
	if got := get(t, aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, &aws.Options{Config: cfg}), "ref"); got != "sk_now" || log.Len() != 0 {
		t.Errorf("got %s, logged %s", got, &log)
	}
	if cfg.ClientLogMode != before.ClientLogMode || cfg.HTTPClient != before.HTTPClient {
		t.Error("the configuration given has been changed")
	}
}

func TestCheck(t *testing.T) {
	w := filled(t)
	s := aws.New(map[string]aws.Reference{
		"good": aws.Secret{ID: "prod/stripe"}, "lost": aws.Secret{ID: "no-such"}, "gone": aws.Parameter{Name: "/no-such"},
	}, &aws.Options{Config: w.config()})
	err := credentials.Check(t.Context(), s)
	want := `credentials: unknown reference "gone": AWS SSM Parameter Store (eu-central-1): ParameterNotFound (HTTP 400)
credentials: unknown reference "lost": AWS Secrets Manager (eu-central-1): ResourceNotFoundException (HTTP 400)`
	if err == nil || err.Error() != want || !errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if err := credentials.Check(t.Context(), w.source(aws.Secret{ID: "prod/stripe"})); err != nil {
		t.Error(err)
	}
}

// A source keeps no value, so it can be printed.
func TestASourcePrintsNoSecret(t *testing.T) {
	w := filled(t)
	w.chain(t)
	s := aws.New(map[string]aws.Reference{"ref": aws.Secret{ID: "prod/stripe"}}, nil)
	get(t, s, "ref")
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "sk_now") || strings.Contains(text, w.identity.SecretAccessKey) {
		t.Error(text)
	}
}

// The brake shows what an error of this source says, as of one in words that may be shown.
func TestErrorsReachTheOperator(t *testing.T) {
	w := filled(t)
	_, err := credentials.NewCache(w.source(aws.Secret{ID: "no-such"}), time.Hour, nil).Get(t.Context(), "ref")
	if err == nil || !errors.Is(err, credentials.ErrUnknown) || !strings.HasSuffix(err.Error(), "AWS Secrets Manager (eu-central-1): ResourceNotFoundException (HTTP 400)") {
		t.Errorf("got %v", err)
	}
}
