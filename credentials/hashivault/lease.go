package hashivault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

// A lease is a credential that Vault has made for us until a time. Its changing fields are under the source's mu.
type lease struct {
	id         string // empty: Vault cannot renew or revoke it
	mount      string
	credential credentials.Credential
	session    *session // it ends with the session's token
	life       time.Duration
	began      time.Time // or was renewed
	ends       time.Time // zero: never
	renewable  bool
	refused    bool // by the vendor
}

// last sets the lease's time as Vault says it, counted from before the question.
func (l *lease) last(asked time.Time, seconds int64) {
	l.began, l.ends = asked, time.Time{}
	if seconds > 0 {
		l.ends = asked.Add(time.Duration(seconds) * time.Second)
	}
}

// lastsFrom reports whether at least half of the time that it had at first is left. A lease without an end, which Vault
// does not know of, is not one to keep.
func (l *lease) lastsFrom(now time.Time) bool {
	return !l.ends.IsZero() && l.ends.Sub(now) >= l.life/2
}

// lent is the credential with its end, which is the token's if that comes first.
func (l *lease) lent() credentials.Credential {
	ends := l.ends
	if t := l.session.ends; ends.IsZero() || !t.IsZero() && t.Before(ends) {
		ends = t
	}
	return l.credential.Until(ends)
}

// lend returns what is leased for ref, renewed, or leases anew: where there is nothing yet, where it was leased under
// another token, and where it cannot be renewed for at least half the time that it had at first.
func (s *Source) lend(ctx context.Context, in *session, ref string, secret Secret) (credentials.Credential, error) {
	s.mu.Lock()
	l := s.leases[ref]
	s.mu.Unlock()
	if l != nil && l.session == in {
		err := s.prolong(ctx, in, l)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			return l.lent(), nil
		}
		if !errors.Is(err, errOver) {
			return credentials.Credential{}, err
		}
	}
	return s.lendAnew(ctx, in, ref, secret)
}

// errOver says that a lease is, or soon will be, and that the next one is needed.
var errOver = errors.New("the lease is over")

func (s *Source) prolong(ctx context.Context, in *session, l *lease) error {
	asked := time.Now()
	s.mu.Lock()
	enough, renewable := l.lastsFrom(asked), l.renewable
	s.mu.Unlock()
	switch {
	case !renewable && enough:
		return nil
	case !renewable:
		return errOver
	}
	var a answer
	err := s.ask(ctx, in.token(), store.Request{
		Method: http.MethodPut, Path: "/v1/sys/leases/renew", Body: map[string]any{"lease_id": l.id, "increment": int64(l.life / time.Second)},
	}, &a)
	if status := store.Status(err); status >= 400 && status < 500 && status != http.StatusTooManyRequests {
		return errOver // whether it is gone or may not be renewed, another can be had
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.last(asked, a.LeaseDuration)
	l.renewable = a.Renewable
	if l.lastsFrom(asked) {
		return nil
	}
	return errOver // it is at its maximum
}

func (s *Source) lendAnew(ctx context.Context, in *session, ref string, secret Secret) (credentials.Credential, error) {
	asked := time.Now()
	var a answer
	if err := s.ask(ctx, in.token(), secret.request(), &a); err != nil {
		return credentials.Credential{}, err
	}
	l := &lease{id: a.LeaseID, mount: secret.Mount, session: in, life: time.Duration(a.LeaseDuration) * time.Second, renewable: a.Renewable && a.LeaseID != ""}
	l.last(asked, a.LeaseDuration)
	parts, err := secret.parts(a.Data)
	if err != nil {
		// Nobody will use it.
		return credentials.Credential{}, errors.Join(err, s.revoke(ctx, in, l))
	}
	l.credential = credentials.New(parts...)
	if !s.hold(ref, l) {
		return credentials.Credential{}, errors.Join(errClosed, s.revoke(ctx, in, l))
	}
	// What the vendor refused has been replaced. If it cannot be revoked now, Close tries again, or it ends by itself.
	_ = s.giveBack(ctx, in, func(l *lease) bool { return l.refused })
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.lent(), nil
}

// hold keeps l as the lease of ref, unless the source is closed. The one before may still be under way in a call, so it
// is not revoked.
func (s *Source) hold(ref string, l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.retire(ref)
	s.leases[ref] = l
	return true
}

// retire takes the lease of ref out of use. The caller holds mu.
func (s *Source) retire(ref string) {
	now := time.Now()
	s.old = slices.DeleteFunc(s.old, func(l *lease) bool { return !l.ends.IsZero() && now.After(l.ends) })
	if l := s.leases[ref]; l != nil {
		delete(s.leases, ref)
		if l.id != "" { // else there is nothing to give back
			s.old = append(s.old, l)
		}
	}
}

// Drop takes the credential of ref out of use, because the vendor has refused it: the next Get leases another and revokes
// this one. What is not leased is read anew at every Get anyway.
func (s *Source) Drop(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[ref]; l != nil {
		l.refused = true
		s.retire(ref)
	}
}

// giveBack revokes the old leases that which selects, and forgets those that are revoked.
func (s *Source) giveBack(ctx context.Context, in *session, which func(*lease) bool) error {
	s.mu.Lock()
	var chosen []*lease
	for _, l := range s.old {
		if which(l) {
			chosen = append(chosen, l)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range chosen {
		if err := s.revoke(ctx, in, l); err != nil {
			errs = append(errs, err)
			continue
		}
		s.mu.Lock()
		s.old = slices.DeleteFunc(s.old, func(o *lease) bool { return o == l })
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (s *Source) revoke(ctx context.Context, in *session, l *lease) error {
	if l.id == "" {
		return nil
	}
	err := s.ask(ctx, in.token(), store.Request{Method: http.MethodPut, Path: "/v1/sys/leases/revoke", Body: map[string]string{"lease_id": l.id}}, nil)
	if err != nil {
		return fmt.Errorf("credentials: a lease of the mount %s was not revoked: %w", l.mount, hidden(err))
	}
	return nil
}
