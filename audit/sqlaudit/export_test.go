package sqlaudit

// Waiting is how many writes wait for the next commit.
func (s *Sink) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}
