package hashivault_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A realVault is Vault's own dev server, over TLS with a certificate of an authority of its own, and a Consul that makes
// and takes back what Vault leases.
type realVault struct {
	t    *testing.T
	at   string
	root string
	pool *x509.CertPool
	http http.Client

	mu      sync.Mutex
	created map[string]string // what the fake Consul has made, by accessor
}

// startReal starts Vault, or skips the test where there is none.
func startReal(t *testing.T) *realVault {
	t.Helper()
	program := os.Getenv("KEYBRAKE_VAULT")
	if program == "" {
		program, _ = exec.LookPath("vault")
	}
	if program == "" {
		t.Skip("not tested against a real Vault: no vault on PATH; build one with `make vault` and set KEYBRAKE_VAULT to the path that it prints")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	_ = l.Close()
	v := &realVault{t: t, at: "https://" + host, root: "root-" + rand.Text(), pool: x509.NewCertPool(), created: map[string]string{}}
	dir := t.TempDir()
	cmd := exec.Command(program, "server", "-dev", "-dev-no-store-token", "-dev-tls", "-dev-tls-cert-dir="+dir, "-dev-root-token-id="+v.root, "-dev-listen-address="+host)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("vault says:\n%s", out.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; {
		if ca, err := os.ReadFile(filepath.Join(dir, "vault-ca.pem")); err == nil && v.pool.AppendCertsFromPEM(ca) {
			v.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.pool}, DisableKeepAlives: true}
			if resp, err := v.http.Get(v.at + "/v1/sys/health"); err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == 200 {
					break
				}
			}
		}
		select {
		case <-ended:
			t.Fatalf("vault ended:\n%s", out.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("vault did not start")
		}
	}
	v.do("POST", "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	v.do("PUT", "sys/policies/acl/keybrake", map[string]any{"policy": documentedPolicy(t)})
	return v
}

// do asks as root.
func (v *realVault) do(method, path string, body any) map[string]any {
	v.t.Helper()
	data, _ := json.Marshal(body)
	req, err := http.NewRequest(method, v.at+"/v1/"+path, bytes.NewReader(data))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", v.root)
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode > 299 {
		v.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	var a map[string]any
	_ = json.Unmarshal(text, &a)
	return a
}

func (v *realVault) address() string        { return v.at }
func (v *realVault) options() *vaultOptions { return &vaultOptions{RootCAs: v.pool} }

func (v *realVault) put2(path string, fields map[string]any) {
	v.do("POST", "secret/data/"+path, map[string]any{"data": fields})
}
func (v *realVault) delete2(path string) { v.do("DELETE", "secret/data/"+path, nil) }
func (v *realVault) put1(path string, fields map[string]any) {
	v.do("POST", "kv/"+path, fields)
}

func (v *realVault) token(ttl time.Duration) string {
	body := map[string]any{"policies": []string{"keybrake"}}
	if ttl > 0 {
		body["period"] = fmt.Sprintf("%ds", ttl/time.Second)
	}
	return v.do("POST", "auth/token/create-orphan", body)["auth"].(map[string]any)["client_token"].(string)
}

func (v *realVault) appRole(ttl, most time.Duration) (role, secretID string) {
	v.do("POST", "sys/auth/approle", map[string]any{"type": "approle"})
	v.do("POST", "auth/approle/role/r", map[string]any{"token_policies": "keybrake", "token_ttl": int(ttl.Seconds()), "token_max_ttl": int(most.Seconds())})
	role = v.do("GET", "auth/approle/role/r/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	secretID = v.do("POST", "auth/approle/role/r/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	return role, secretID
}

// jwt mounts the JWT method, whose login has the same form as that of Kubernetes, which needs a cluster to ask.
func (v *realVault) jwt(mount, role string) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		v.t.Fatal(err)
	}
	der, _ := x509.MarshalPKIXPublicKey(&key.PublicKey)
	v.do("POST", "sys/auth/"+mount, map[string]any{"type": "jwt"})
	v.do("POST", "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))})
	v.do("POST", "auth/"+mount+"/role/"+role, map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": "keybrake"})
	part := func(x any) string {
		data, _ := json.Marshal(x)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(map[string]any{
		"sub": "system:serviceaccount:payments:keybrake", "aud": "vault", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		v.t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (v *realVault) consul(ttl, most time.Duration) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch accessor, del := strings.CutPrefix(r.URL.Path, "/v1/acl/token/"); {
		case r.Method == "PUT" && r.URL.Path == "/v1/acl/token":
			accessor, value := rand.Text(), rand.Text()
			v.created[accessor] = value
			_ = json.NewEncoder(w).Encode(map[string]any{"AccessorID": accessor, "SecretID": value})
		case r.Method == "DELETE" && del:
			delete(v.created, accessor)
			_, _ = io.WriteString(w, "true")
		}
	}))
	v.t.Cleanup(server.Close)
	v.do("POST", "sys/mounts/consul", map[string]any{"type": "consul"})
	v.do("POST", "consul/config/access", map[string]any{"address": strings.TrimPrefix(server.URL, "http://"), "token": "management"})
	v.do("POST", "consul/roles/payments", map[string]any{"consul_policies": "payments", "ttl": int(ttl.Seconds()), "max_ttl": int(most.Seconds())})
}

func (v *realVault) endTokens() {
	accessors := v.do("LIST", "auth/token/accessors", nil)["data"].(map[string]any)["keys"].([]any)
	for _, a := range accessors {
		looked := v.do("POST", "auth/token/lookup-accessor", map[string]any{"accessor": a})["data"].(map[string]any)
		if path := looked["path"].(string); strings.HasSuffix(path, "/login") {
			v.do("POST", "auth/token/revoke-accessor", map[string]any{"accessor": a})
		}
	}
}

func (v *realVault) lent() (live []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, value := range v.created {
		live = append(live, value)
	}
	return live
}
