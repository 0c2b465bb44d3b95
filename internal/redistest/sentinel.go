package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Sentinel is a master with its replicas, watched by three sentinels that make a replica the master when the
// master has been silent for ten seconds, or what Bear says.
type Sentinel struct {
	Nodes     []*Server // the first is the master to begin with
	Sentinels []*Server
}

// Name is what the sentinels call the master.
const Name = "kb"

// RunSentinel starts a master with replicas, each with args, and its sentinels, and returns when every sentinel
// knows all of them.
func RunSentinel(replicas int, args ...string) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.begin(replicas, args); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sentinel) begin(replicas int, args []string) error {
	for range 1 + replicas {
		node, err := Run(args...)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, node)
	}
	for _, node := range s.Nodes[1:] {
		if err := node.Follow(s.Nodes[0]); err != nil {
			return err
		}
	}
	for range 3 {
		sentinel, err := run(func(v *Server) ([]string, error) { return watch(v, s.Nodes[0]) })
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	// They would learn of each other and of a change within ten seconds; a test does not want to wait for it. Once they
	// know each other they talk less: four times the publish period after a promotion, a sentinel that has not heard
	// of it undoes it.
	if err := s.tune("INFO-PERIOD", "200", "ASK-PERIOD", "100", "PUBLISH-PERIOD", "100"); err != nil {
		return err
	}
	if err := until("sentinels know each other", func(ctx context.Context) bool { return s.settled(ctx, replicas) }); err != nil {
		return err
	}
	return s.tune("PUBLISH-PERIOD", "1000")
}

func (s *Sentinel) tune(settings ...any) error {
	for _, v := range s.Sentinels {
		if err := v.admin.Do(context.Background(), append([]any{"SENTINEL", "DEBUG"}, settings...)...).Err(); err != nil {
			return err
		}
	}
	return nil
}

// watch writes the configuration of a sentinel, which is a file that it changes by itself, and returns the
// command line.
func watch(v *Server, master *Server) ([]string, error) {
	file := filepath.Join(v.dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 10000\nsentinel failover-timeout %s 3000\n",
		Name, master.port, Name, Name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	v.args = append([]string{file, "--sentinel"}, "--bind", "127.0.0.1", "--dir", v.dir, "--unixsocket", v.socket())
	return []string{"--port", strconv.Itoa(v.port)}, nil
}

// Bear sets for how long a master may be silent. A short time is for a master that is about to be killed: on a busy
// machine one that is well is soon taken for dead.
func (s *Sentinel) Bear(silence time.Duration) error {
	for _, v := range s.Sentinels {
		if err := v.admin.Do(context.Background(), "SENTINEL", "SET", Name, "down-after-milliseconds", silence.Milliseconds()).Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sentinel) settled(ctx context.Context, replicas int) bool {
	for _, v := range s.Sentinels {
		c := redis.NewSentinelClient(v.admin.Options())
		m, err := c.Master(ctx, Name).Result()
		_ = c.Close()
		if err != nil || m["num-other-sentinels"] != "2" || m["num-slaves"] != strconv.Itoa(replicas) || m["flags"] != "master" {
			return false
		}
	}
	return true
}

// Addrs are those of the sentinels, for redis.FailoverOptions.
func (s *Sentinel) Addrs() []string {
	addrs := make([]string, len(s.Sentinels))
	for i, v := range s.Sentinels {
		addrs[i] = v.Addr()
	}
	return addrs
}

// Master is the node that most sentinels call the master.
func (s *Sentinel) Master() (*Server, error) { return s.master(context.Background()) }

func (s *Sentinel) master(ctx context.Context) (*Server, error) {
	votes := map[string]int{}
	for _, v := range s.Sentinels {
		c := redis.NewSentinelClient(v.admin.Options())
		addr, err := c.GetMasterAddrByName(ctx, Name).Result()
		_ = c.Close()
		if err == nil && len(addr) == 2 {
			votes[net.JoinHostPort(addr[0], addr[1])]++
		}
	}
	for _, node := range s.Nodes {
		if votes[node.Addr()]*2 > len(s.Sentinels) {
			return node, nil
		}
	}
	return nil, errors.New("redistest: the sentinels do not agree on a master")
}

// Failover asks for a planned failover and returns the new master when most sentinels name it and it takes writes.
func (s *Sentinel) Failover() (*Server, error) {
	old, err := s.Master()
	if err != nil {
		return nil, err
	}
	if err := s.Sentinels[0].admin.Do(context.Background(), "SENTINEL", "FAILOVER", Name).Err(); err != nil {
		return nil, err
	}
	return s.NewMaster(old)
}

// NewMaster returns the master when it is another than old and takes writes.
func (s *Sentinel) NewMaster(old *Server) (*Server, error) {
	var now *Server
	err := until("another master", func(ctx context.Context) bool {
		var err error
		now, err = s.master(ctx)
		return err == nil && now != old && now.replication(ctx)["role"] == "master"
	})
	return now, err
}

// Close ends all of it.
func (s *Sentinel) Close() {
	for _, v := range append(s.Sentinels, s.Nodes...) {
		v.Close()
	}
}
