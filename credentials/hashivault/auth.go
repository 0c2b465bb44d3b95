package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

// An Auth is how the source logs in. The zero Auth logs in nowhere.
type Auth struct {
	mount string
	// Funcs, because what they return is secret, and a func prints as an address.
	token func() string
	body  func() (map[string]string, error)
}

// Token uses a token that somebody else has made. The source renews it, if it can be renewed, until the token's own
// maximum; make it a periodic one, which has none. Close does not revoke it.
func Token(token string) Auth { return Auth{token: func() string { return token }} }

// AppRole logs in with a role id and a secret id, at the mount "approle". secretID is empty for a role that needs none.
func AppRole(roleID, secretID string) Auth {
	return Auth{mount: "approle", body: func() (map[string]string, error) {
		body := map[string]string{"role_id": roleID}
		if secretID != "" {
			body["secret_id"] = secretID
		}
		return body, nil
	}}
}

// Kubernetes logs in as the pod's service account, at the mount "kubernetes". The account's token is read from jwtFile at
// each login, because Kubernetes changes it; empty means where a pod has it,
// /var/run/secrets/kubernetes.io/serviceaccount/token. It serves a mount of the JWT method as well.
func Kubernetes(role, jwtFile string) Auth {
	if jwtFile == "" {
		jwtFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	}
	return Auth{mount: "kubernetes", body: func() (map[string]string, error) {
		jwt, err := readJWT(jwtFile)
		return map[string]string{"role": role, "jwt": jwt}, err
	}}
}

func readJWT(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if jwt := strings.TrimSpace(string(data)); jwt != "" || err != nil {
		return jwt, err
	}
	return "", fmt.Errorf("%s is empty", name)
}

// At returns a as the method mounted at another path, such as "kubernetes-eu".
func (a Auth) At(mount string) Auth {
	a.mount = mount
	return a
}

// again reports whether a can log in a second time.
func (a Auth) again() bool { return a.body != nil }

// A grant is what Vault says of a token that it made or renewed.
type grant struct {
	ClientToken   string `json:"client_token"`
	LeaseDuration int64  `json:"lease_duration"` // seconds; 0 for one without end
	Renewable     bool   `json:"renewable"`
	TokenType     string `json:"token_type"`
}

// A session is the time of one token. Its changing fields are under the source's mu.
type session struct {
	token     func() string
	own       bool // made by our login, and can be revoked
	renewable bool
	began     time.Time // or was renewed
	ends      time.Time // zero: never
}

func (in *session) alive(now time.Time) bool { return in.ends.IsZero() || now.Before(in.ends) }

// due is when a token that its timer has not renewed has to be replaced, so that leases do not end with it unforeseen.
func (in *session) due() time.Time { return in.began.Add(in.ends.Sub(in.began) / 10 * 9) }

// last sets the session's time as Vault says it, counted from before the question.
func (in *session) last(asked time.Time, seconds int64) {
	in.began, in.ends = asked, time.Time{}
	if seconds > 0 {
		in.ends = asked.Add(time.Duration(seconds) * time.Second)
	}
}

// enter returns the session, logging in if there is none or its time is nearly over.
func (s *Source) enter(ctx context.Context) (*session, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	in, closed, now := s.session, s.closed, time.Now()
	alive := in != nil && in.alive(now)
	fresh := alive && (in.ends.IsZero() || now.Before(in.due()) || !s.auth.again())
	s.mu.Unlock()
	switch {
	case closed:
		return nil, errClosed
	case fresh:
		return in, nil
	}
	next, err := s.login(ctx)
	if err != nil && alive {
		return in, nil
	}
	if err != nil {
		return nil, err
	}
	s.use(next)
	return next, nil
}

// login asks for a token, or looks at the one that was given.
func (s *Source) login(ctx context.Context) (*session, error) {
	if s.auth.body == nil {
		return s.look(ctx)
	}
	body, err := s.auth.body()
	if err != nil {
		return nil, fmt.Errorf("logging in: %w", err)
	}
	if !clean(s.auth.mount) {
		return nil, errors.New("logging in: the mount of the method has to be a path like \"approle\"")
	}
	asked := time.Now()
	var a answer
	if err := s.ask(ctx, "", store.Request{Method: http.MethodPost, Path: "/v1/auth/" + s.auth.mount + "/login", Body: body}, &a); err != nil {
		return nil, fmt.Errorf("logging in at auth/%s: %w", s.auth.mount, hidden(err))
	}
	if a.Auth == nil || a.Auth.ClientToken == "" {
		return nil, fmt.Errorf("logging in at auth/%s: the answer holds no token", s.auth.mount)
	}
	token := a.Auth.ClientToken
	in := &session{token: func() string { return token }, own: a.Auth.TokenType != "batch", renewable: a.Auth.Renewable}
	in.last(asked, a.Auth.LeaseDuration)
	return in, nil
}

// hidden keeps a status of the login from being taken for one of the secret: a 404 there does not say that the secret
// is gone.
func hidden(err error) error {
	if store.Status(err) != 0 {
		return errors.New(err.Error())
	}
	return err
}

// look reads how long a given token lasts. A token that may not look at itself (it lacks the policy "default") is used
// as it is.
func (s *Source) look(ctx context.Context) (*session, error) {
	if s.auth.token == nil || s.auth.token() == "" {
		return nil, errors.New("the Auth is empty; use Token, AppRole or Kubernetes")
	}
	in, asked := &session{token: s.auth.token}, time.Now()
	var a answer
	switch err := s.ask(ctx, in.token(), store.Request{Method: http.MethodGet, Path: "/v1/auth/token/lookup-self"}, &a); {
	case store.Status(err) == http.StatusForbidden:
		return in, nil
	case err != nil:
		return nil, fmt.Errorf("looking at the token: %w", hidden(err))
	}
	var self struct {
		TTL       int64 `json:"ttl"`
		Renewable bool  `json:"renewable"`
	}
	if json.Unmarshal(a.Data, &self) != nil {
		return nil, errors.New("looking at the token: the answer is not of the documented form")
	}
	in.renewable = self.Renewable
	in.last(asked, self.TTL)
	return in, nil
}

// alive asks Vault whether the token still is one. Where that cannot be found out it is taken for one: a second login
// would not help.
func (s *Source) alive(ctx context.Context, in *session) bool {
	err := s.ask(ctx, in.token(), store.Request{Method: http.MethodGet, Path: "/v1/auth/token/lookup-self"}, nil)
	return store.Status(err) != http.StatusForbidden
}

func (s *Source) use(in *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = in
	s.schedule(in)
}

func (s *Source) forget(in *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == in {
		s.session = nil
	}
}

// schedule has the token renewed when half of its time is over, whether there are calls or not: one that somebody else
// has made cannot be had again. The caller holds mu.
func (s *Source) schedule(in *session) {
	if s.timer != nil {
		s.timer.Stop()
	}
	if in.renewable && !in.ends.IsZero() && !s.closed {
		s.timer = time.AfterFunc(max(time.Until(in.ends)/2, time.Second), func() { s.renew(in) })
	}
}

// renew has the token last longer. If Vault is out it is tried again; if Vault refuses, or the token is at its maximum,
// it is left to end, and the next Get logs in.
func (s *Source) renew(in *session) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	current := s.session == in && !s.closed && in.alive(time.Now())
	s.mu.Unlock()
	if !current {
		return
	}
	asked := time.Now()
	var a answer
	err := s.ask(ctx, in.token(), store.Request{Method: http.MethodPost, Path: "/v1/auth/token/renew-self", Body: struct{}{}}, &a)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before := in.ends; {
	case err == nil && a.Auth != nil:
		in.renewable = a.Auth.Renewable
		in.last(asked, a.Auth.LeaseDuration)
		in.renewable = in.renewable && in.ends.Sub(before) > time.Second
	case store.Status(err) >= 400 && store.Status(err) < 500 && store.Status(err) != http.StatusTooManyRequests:
		in.renewable = false
	}
	s.schedule(in)
}
