//go:build unix

package redistest

import "syscall"

// Pause stops the process where it is (SIGSTOP): its connections stay open, and nothing is answered.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Continue lets a paused process go on (SIGCONT). It then takes what was sent to it meanwhile.
func (s *Server) Continue() error { return s.signal(syscall.SIGCONT) }
