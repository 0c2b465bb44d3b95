package gcp

import "time"

// Age is for tests: it makes the access token that s holds one that expired long ago.
func (s *Source) Age() {
	b := s.bearer.Load()
	token := *b.Token
	token.Expiry = time.Unix(1, 0)
	s.bearer.Store(&bearer{&token, b.quota})
}
