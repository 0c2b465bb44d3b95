package aws_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// canary is what a service says beyond its error code, wherever it can; no error of ours may repeat it.
const canary = "CANARYsk_live_51abcCANARY"

// A world stands in for Secrets Manager and Parameter Store, in every region. It believes the signature alone.
type world struct {
	*httptest.Server
	identity sdk.Credentials

	mu         sync.Mutex
	secrets    map[string]*secret    // by name; an ARN names the same one, in its region
	parameters map[string]*parameter // by name
	calls      []string              // region and target of each, in order
	instead    http.HandlerFunc      // answers in its place, after the signature was checked
}

type secret struct {
	region   string
	versions map[string]any    // string or []byte by version id
	stages   map[string]string // version id by stage
	deleted  bool
}

type parameter struct {
	kind     string
	versions []string // from version 1
	labels   map[string]int
}

func newWorld(t *testing.T) *world {
	w := &world{
		identity:   sdk.Credentials{AccessKeyID: "AKIAFAKE", SecretAccessKey: "fake/secret", SessionToken: "fake+session=="},
		secrets:    map[string]*secret{},
		parameters: map[string]*parameter{},
	}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that a test breaks off
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

// chain sets the environment so that the SDK's default chain finds the world and nothing of this machine's.
func (w *world) chain(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": w.identity.AccessKeyID, "AWS_SECRET_ACCESS_KEY": w.identity.SecretAccessKey, "AWS_SESSION_TOKEN": w.identity.SessionToken,
		"AWS_REGION": "eu-central-1", "AWS_CA_BUNDLE": bundle, "AWS_ENDPOINT_URL": w.URL, "AWS_MAX_ATTEMPTS": "1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

func (w *world) answerInstead(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instead = h
}

func (w *world) called() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([a-z0-9-]+)/([a-z]+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$`)

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	part := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if r.Method != "POST" || r.URL.Path != "/" || r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || part == nil {
		refuse(out, 400, "IncompleteSignatureException")
		return
	}
	if code := w.distrust(r, body, part); code != "" {
		refuse(out, 400, code)
		return
	}
	target, region := r.Header.Get("X-Amz-Target"), part[3]
	w.mu.Lock()
	w.calls = append(w.calls, region+" "+target)
	instead := w.instead
	w.mu.Unlock()
	if instead != nil {
		instead(out, r)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case target == "secretsmanager.GetSecretValue" && part[4] == "secretsmanager":
		w.getSecretValue(out, region, body)
	case target == "AmazonSSM.GetParameter" && part[4] == "ssm":
		w.getParameter(out, region, body)
	default:
		refuse(out, 400, "UnknownOperationException")
	}
}

// distrust signs what arrived once more, with the SDK's own signer, and gives the error code if that comes out otherwise.
func (w *world) distrust(r *http.Request, body []byte, part []string) string {
	if part[1] != w.identity.AccessKeyID || r.Header.Get("X-Amz-Security-Token") != w.identity.SessionToken {
		return "UnrecognizedClientException"
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 15*time.Minute || at.Format("20060102") != part[2] {
		return "InvalidSignatureException"
	}
	again, err := http.NewRequest(r.Method, "https://"+r.Host+"/", bytes.NewReader(body))
	if err != nil {
		return "InvalidSignatureException"
	}
	signed := strings.Split(part[5], ";")
	for _, name := range signed {
		if v := r.Header.Values(name); v != nil {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	for _, name := range []string{"host", "x-amz-date", "x-amz-target", "x-amz-security-token", "content-type"} {
		if !slices.Contains(signed, name) {
			return "IncompleteSignatureException"
		}
	}
	hash := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), w.identity, again, hex.EncodeToString(hash[:]), part[4], part[3], at)
	if err != nil || again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		return "InvalidSignatureException"
	}
	return ""
}

func (w *world) getSecretValue(out http.ResponseWriter, region string, body []byte) {
	var in struct{ SecretId, VersionId, VersionStage *string }
	if strict(body, &in) != nil || in.SecretId == nil || in.VersionId != nil && *in.VersionId == "" || in.VersionStage != nil && *in.VersionStage == "" {
		refuse(out, 400, "ValidationException")
		return
	}
	name, home := *in.SecretId, region
	if arn := strings.SplitN(name, ":", 7); len(arn) == 7 {
		home, name = arn[3], arn[6][:len(arn[6])-len("-AbCdEf")]
	}
	s := w.secrets[name]
	if s == nil || s.region != region || home != region {
		refuse(out, 400, "ResourceNotFoundException")
		return
	}
	if s.deleted {
		refuse(out, 400, "InvalidRequestException")
		return
	}
	version := s.stages["AWSCURRENT"]
	switch {
	case in.VersionStage != nil:
		version = s.stages[*in.VersionStage]
		if in.VersionId != nil && *in.VersionId != version {
			version = ""
		}
	case in.VersionId != nil:
		version = *in.VersionId
	}
	reply := map[string]any{"ARN": arn(region, name), "Name": name, "VersionId": version, "CreatedDate": 1.7e9}
	switch v := s.versions[version].(type) {
	case string:
		reply["SecretString"] = v
	case []byte:
		reply["SecretBinary"] = v // base64, as encoding/json has it
	default:
		refuse(out, 400, "ResourceNotFoundException")
		return
	}
	answer(out, 200, reply)
}

func arn(region, name string) string {
	return "arn:aws:secretsmanager:" + region + ":123456789012:secret:" + name + "-AbCdEf"
}

func (w *world) getParameter(out http.ResponseWriter, region string, body []byte) {
	var in struct {
		Name           string
		WithDecryption bool
	}
	if strict(body, &in) != nil || in.Name == "" {
		refuse(out, 400, "ValidationException")
		return
	}
	name, selector, _ := strings.Cut(in.Name, ":")
	if part := strings.SplitN(in.Name, ":", 7); len(part) >= 6 {
		name, selector = strings.TrimPrefix(part[5], "parameter"), ""
		if part[3] != region {
			refuse(out, 400, "ValidationException")
			return
		}
	}
	p := w.parameters[name]
	if p == nil {
		refuse(out, 400, "ParameterNotFound")
		return
	}
	version := len(p.versions)
	if selector != "" {
		version = p.labels[selector]
		if n := strings.IndexByte("0123456789", selector[0]); n >= 0 && len(selector) == 1 {
			version = n
		}
	}
	if version < 1 || version > len(p.versions) {
		refuse(out, 400, "ParameterVersionNotFound")
		return
	}
	value := p.versions[version-1]
	if p.kind == "SecureString" && !in.WithDecryption {
		value = "AQICAHcipherCIPHERcipher==" // what comes without decryption is a string, too
	}
	answer(out, 200, map[string]any{"Parameter": map[string]any{
		"Name": name, "Type": p.kind, "Value": value, "Version": version, "ARN": "arn:aws:ssm:" + region + ":123456789012:parameter" + name,
		"DataType": "text", "LastModifiedDate": 1.7e9, "Selector": selector,
	}})
}

func strict(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func answer(out http.ResponseWriter, code int, v any) {
	out.Header().Set("Content-Type", "application/x-amz-json-1.1")
	out.Header().Set("X-Amzn-Requestid", "b1b1b1b1-"+canary)
	out.WriteHeader(code)
	_ = json.NewEncoder(out).Encode(v)
}

// refuse answers in the form of protocol JSON 1.1: __type with the code, and a message.
func refuse(out http.ResponseWriter, status int, code string) {
	message := "Message" // Secrets Manager and Systems Manager differ in its case
	if strings.HasPrefix(code, "Parameter") {
		message = "message"
	}
	answer(out, status, map[string]any{"__type": code, message: "about " + canary})
}
