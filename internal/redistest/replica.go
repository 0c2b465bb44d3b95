package redistest

import (
	"context"
	"strconv"
	"strings"
)

// Replica starts a server that copies s, and returns when it has caught up. It is the caller's to close.
func (s *Server) Replica(args ...string) (*Server, error) {
	r, err := Run(args...)
	if err != nil {
		return nil, err
	}
	if err := r.Follow(s); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Follow makes s a replica of master and returns when it has caught up.
func (s *Server) Follow(master *Server) error {
	if err := s.admin.Do(context.Background(), "REPLICAOF", "127.0.0.1", master.port).Err(); err != nil {
		return err
	}
	return s.CatchUp(master)
}

// CatchUp returns when s has all that master had been told when it was called.
func (s *Server) CatchUp(master *Server) error {
	sent := master.replication(context.Background())["master_repl_offset"]
	want, err := strconv.ParseInt(sent, 10, 64)
	if err != nil {
		return err
	}
	return until(s.Addr()+" catches up", func(ctx context.Context) bool {
		info := s.replication(ctx)
		got, err := strconv.ParseInt(info["slave_repl_offset"], 10, 64)
		return err == nil && info["master_link_status"] == "up" && got >= want
	})
}

// Promote makes a master of a replica. What the old master had not yet sent is lost.
func (s *Server) Promote() error {
	return s.admin.Do(context.Background(), "REPLICAOF", "NO", "ONE").Err()
}

// replication is INFO replication; empty when the server does not answer.
func (s *Server) replication(ctx context.Context) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(s.admin.Info(ctx, "replication").Val()) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields
}
