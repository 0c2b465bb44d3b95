package gcp_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// canary is what a service says beyond its status, wherever it can; no error of ours may repeat it.
const canary = "CANARYsk_live_51abcCANARY"

const robot, jwtBearer = "brake@acme.iam.gserviceaccount.com", "urn:ietf:params:oauth:grant-type:jwt-bearer"

// A world stands in for Google's token endpoint and for Secret Manager, under their own host names and behind TLS.
type world struct {
	server *httptest.Server
	roots  *x509.CertPool
	key    *rsa.PrivateKey // the service account's

	mu      sync.Mutex
	secrets map[string]*secret // by name
	bearers []string           // access tokens that are good
	tokens  int                // how many were given
	calls   []string           // host and path of each request
	instead map[string]http.HandlerFunc
	quota   string // the project that X-Goog-User-Project must name
}

type secret struct {
	versions []version // from version 1
	aliases  map[string]int
}

type version struct {
	data  []byte
	state string // ENABLED if empty
	sum   string // the CRC-32C, if another than that of data
}

var keyOnce = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newWorld(t *testing.T) *world {
	w := &world{key: keyOnce(), secrets: map[string]*secret{}, instead: map[string]http.HandlerFunc{}}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"*.googleapis.com", "secretmanager.europe-west3.rep.googleapis.com"},
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, own.Public(), own)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(leaf)
	w.server = httptest.NewUnstartedServer(w)
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: own}}}
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that a test breaks off
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	return w
}

// transport leads every connection to the world; names, paths and certificates are checked as ever.
func (w *world) transport(t *testing.T) *http.Transport {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.server.Listener.Addr().String())
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// account is the key file of the world's service account.
func (w *world) account() map[string]string {
	der, err := x509.MarshalPKCS8PrivateKey(w.key)
	if err != nil {
		panic(err)
	}
	return map[string]string{
		"type": "service_account", "project_id": "acme", "private_key_id": "k1", "client_email": robot, "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// chain makes v the Application Default Credentials.
func chain(t *testing.T, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "adc.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
}

func (w *world) answerInstead(host string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instead[host] = h
}

func (w *world) called() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.calls = append(w.calls, r.Host+r.URL.Path)
	instead := w.instead[r.Host]
	w.mu.Unlock()
	if instead != nil {
		instead(out, r)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case r.Host == "oauth2.googleapis.com" && r.Method == "POST" && r.URL.Path == "/token":
		w.grant(out, r)
	case strings.HasPrefix(r.Host, "secretmanager.") && r.Method == "GET" && r.URL.RawQuery == "":
		w.access(out, r)
	default:
		refuse(out, 404, "NOT_FOUND")
	}
}

// grant gives an access token for a signed assertion or for a refresh token (RFC 7523, RFC 6749).
func (w *world) grant(out http.ResponseWriter, r *http.Request) {
	good := false
	switch r.PostFormValue("grant_type") {
	case jwtBearer:
		good = w.signed(r.PostFormValue("assertion"))
	case "refresh_token":
		good = r.PostFormValue("client_id") == "id" && r.PostFormValue("client_secret") == "cs" && r.PostFormValue("refresh_token") == "rt"
	}
	if !good {
		answer(out, 400, map[string]any{"error": "invalid_grant", "error_description": "not " + canary})
		return
	}
	w.tokens++
	token := fmt.Sprintf("ya29.%d", w.tokens)
	w.bearers = append(w.bearers, token)
	answer(out, 200, map[string]any{"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
}

// signed verifies an assertion in JWT form (RFC 7519), as Google documents it for service accounts.
func (w *world) signed(assertion string) bool {
	part := strings.Split(assertion, ".")
	if len(part) != 3 {
		return false
	}
	var raw [3][]byte
	for i := range part {
		raw[i], _ = base64.RawURLEncoding.DecodeString(part[i])
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil {
		return false
	}
	sum, now := sha256.Sum256([]byte(part[0]+"."+part[1])), time.Now().Unix()
	return header.Alg == "RS256" && header.Kid == "k1" && claims.Iss == robot && claims.Aud == "https://oauth2.googleapis.com/token" &&
		claims.Scope == "https://www.googleapis.com/auth/cloud-platform" && claims.Iat <= now && now < claims.Exp && claims.Exp <= claims.Iat+3600 &&
		rsa.VerifyPKCS1v15(&w.key.PublicKey, crypto.SHA256, sum[:], raw[2]) == nil
}

var accessPath = regexp.MustCompile(`^/v1/(projects/[^/]+(?:/locations/([^/]+))?/secrets/[^/]+)/versions/([^/:]+):access$`)

func (w *world) access(out http.ResponseWriter, r *http.Request) {
	part := accessPath.FindStringSubmatch(r.URL.Path)
	if part == nil || part[2] == "" && r.Host != "secretmanager.googleapis.com" || part[2] != "" && r.Host != "secretmanager."+part[2]+".rep.googleapis.com" {
		refuse(out, 404, "NOT_FOUND")
		return
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok || !slices.Contains(w.bearers, token) {
		refuse(out, 401, "UNAUTHENTICATED")
		return
	}
	if r.Header.Get("X-Goog-User-Project") != w.quota {
		refuse(out, 403, "PERMISSION_DENIED")
		return
	}
	s := w.secrets[part[1]]
	if s == nil {
		refuse(out, 404, "NOT_FOUND")
		return
	}
	n := s.aliases[part[3]]
	if part[3] == "latest" {
		n = len(s.versions)
	} else if i, err := strconv.Atoi(part[3]); err == nil {
		n = i
	}
	if n < 1 || n > len(s.versions) {
		refuse(out, 404, "NOT_FOUND")
		return
	}
	v := s.versions[n-1]
	if v.state != "" {
		refuse(out, 400, "FAILED_PRECONDITION")
		return
	}
	sum := v.sum
	if sum == "" {
		sum = fmt.Sprint(crc32.Checksum(v.data, crc32.MakeTable(crc32.Castagnoli)))
	}
	answer(out, 200, map[string]any{
		"name": fmt.Sprintf("%s/versions/%d", part[1], n), "payload": map[string]any{"data": v.data, "dataCrc32c": sum},
	})
}

func answer(out http.ResponseWriter, code int, v any) {
	out.Header().Set("Content-Type", "application/json; charset=UTF-8")
	out.WriteHeader(code)
	_ = json.NewEncoder(out).Encode(v)
}

// refuse answers in the error form of Google's APIs (google.rpc.Status).
func refuse(out http.ResponseWriter, code int, status string) {
	answer(out, code, map[string]any{"error": map[string]any{
		"code": code, "message": "about " + canary, "status": status,
		"details": []any{map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": canary}},
	}})
}
