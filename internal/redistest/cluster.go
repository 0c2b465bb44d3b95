package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// slots is how many a cluster has.
const slots = 16384

// A Cluster is a Redis Cluster. The masters share the slots evenly.
type Cluster struct {
	Masters  []*Server // those that began as masters
	Replicas []*Server // those that began as replicas: of the first master, of the second, …, of the first again
	ids      map[*Server]string
}

// RunCluster starts masters and, for each of them, replicas, all with args, and returns when every node finds the
// cluster whole. A node is dead to the others when it has been silent for ten seconds, or what Bear says.
func RunCluster(masters, replicas int, args ...string) (*Cluster, error) {
	c := &Cluster{ids: map[*Server]string{}}
	if err := c.begin(masters, replicas, args); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) begin(masters, replicas int, args []string) error {
	ctx := context.Background()
	for i := range masters * (1 + replicas) {
		node, err := run(func(s *Server) ([]string, error) { return join(s, args) })
		if err != nil {
			return err
		}
		if i < masters {
			c.Masters = append(c.Masters, node)
		} else {
			c.Replicas = append(c.Replicas, node)
		}
		if c.ids[node], err = node.admin.Do(ctx, "CLUSTER", "MYID").Text(); err != nil {
			return err
		}
		// Epochs of their own: nodes that start with the same one would first have to settle who yields.
		if err := node.admin.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
	}
	for i, node := range c.Masters {
		if err := node.admin.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return err
		}
	}
	if err := c.meet(ctx); err != nil {
		return err
	}
	for i, node := range c.Replicas {
		if err := node.admin.Do(ctx, "CLUSTER", "REPLICATE", c.ids[c.Masters[i%masters]]).Err(); err != nil {
			return err
		}
	}
	return until("the cluster is whole", c.whole)
}

// join is the command line of a node. The port of the cluster bus would by default be 10000 higher, which may be
// taken.
func join(s *Server, args []string) ([]string, error) {
	var err error
	if s.bus, err = freePort(); err != nil {
		return nil, err
	}
	own := []string{"--port", strconv.Itoa(s.port), "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(s.bus), "--cluster-node-timeout", "10000"}
	return append(own, args...), nil
}

// meet introduces every node to every other, and returns when all know all: gossip alone takes seconds.
func (c *Cluster) meet(ctx context.Context) error {
	all := c.nodes()
	for i, a := range all {
		for _, b := range all[:i] {
			if err := a.admin.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", b.port, b.bus).Err(); err != nil {
				return err
			}
		}
	}
	return until("nodes know each other", func(ctx context.Context) bool {
		for _, node := range all {
			text := node.admin.ClusterNodes(ctx).Val()
			for _, id := range c.ids {
				if !strings.Contains(text, id) {
					return false
				}
			}
			if strings.Contains(text, "handshake") {
				return false
			}
		}
		return true
	})
}

// Bear sets for how long a node may be silent. A short time is for a node that is about to be killed: on a busy
// machine one that is well is soon taken for dead.
func (c *Cluster) Bear(silence time.Duration) error {
	for _, node := range c.nodes() {
		if err := node.admin.ConfigSet(context.Background(), "cluster-node-timeout", strconv.FormatInt(silence.Milliseconds(), 10)).Err(); err != nil {
			return err
		}
	}
	return nil
}

// whole says whether every node finds every slot served, and every replica has its copy.
func (c *Cluster) whole(ctx context.Context) bool {
	for _, node := range c.nodes() {
		if !strings.Contains(node.admin.ClusterInfo(ctx).Val(), "cluster_state:ok") ||
			strings.Count(node.admin.ClusterNodes(ctx).Val(), "slave") != len(c.Replicas) {
			return false
		}
	}
	for _, r := range c.Replicas {
		if r.replication(ctx)["master_link_status"] != "up" {
			return false
		}
	}
	return true
}

func (c *Cluster) nodes() []*Server {
	return append(append([]*Server(nil), c.Masters...), c.Replicas...)
}

// Addrs are those of all nodes, for redis.ClusterOptions.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.nodes() {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// Owner is the master that has the slot of key, and the slot.
func (c *Cluster) Owner(key string) (*Server, int, error) {
	ctx := context.Background()
	for _, asked := range c.nodes() {
		slot, err := asked.admin.ClusterKeySlot(ctx, key).Result()
		if err != nil {
			continue
		}
		if owner := c.owner(ctx, asked, int(slot)); owner != nil {
			return owner, int(slot), nil
		}
	}
	return nil, 0, fmt.Errorf("redistest: nobody has the slot of %s", key)
}

// owner is who has the slot by what asked knows; nil when it does not answer.
func (c *Cluster) owner(ctx context.Context, asked *Server, slot int) *Server {
	ranges, err := asked.admin.ClusterSlots(ctx).Result()
	if err != nil {
		return nil
	}
	for _, r := range ranges {
		if slot < r.Start || slot > r.End || len(r.Nodes) == 0 {
			continue
		}
		for _, node := range c.nodes() {
			if c.ids[node] == r.Nodes[0].ID {
				return node
			}
		}
	}
	return nil
}

// Reshard moves slots from one master to another the way redis-cli does it, while clients go on, and returns when
// all masters know of it.
func (c *Cluster) Reshard(from, to *Server, slot ...int) error {
	ctx := context.Background()
	for _, n := range slot {
		if err := to.admin.Do(ctx, "CLUSTER", "SETSLOT", n, "IMPORTING", c.ids[from]).Err(); err != nil {
			return err
		}
		if err := from.admin.Do(ctx, "CLUSTER", "SETSLOT", n, "MIGRATING", c.ids[to]).Err(); err != nil {
			return err
		}
		if err := empty(ctx, from, to, n); err != nil {
			return err
		}
		// The receiver first: a slot that nobody has for a moment would be refused to everybody.
		for _, node := range []*Server{to, from} {
			if err := node.admin.Do(ctx, "CLUSTER", "SETSLOT", n, "NODE", c.ids[to]).Err(); err != nil {
				return err
			}
		}
	}
	return until("all know of the moved slots", func(ctx context.Context) bool {
		for _, node := range c.Masters {
			for _, n := range slot {
				if owner := c.owner(ctx, node, n); owner != nil && owner != to {
					return false
				}
			}
		}
		return true
	})
}

// empty hands over the keys of a slot. A few at a time, so that for a while some are here and some there.
func empty(ctx context.Context, from, to *Server, slot int) error {
	for {
		keys, err := from.admin.ClusterGetKeysInSlot(ctx, slot, 3).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		args := []any{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", 0, patience.Milliseconds(), "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		if err := from.admin.Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
}

// Close ends all nodes.
func (c *Cluster) Close() {
	for _, node := range c.nodes() {
		node.Close()
	}
}

// NewOwner returns the master that has the slot of key when it is another than old and the cluster serves again.
func (c *Cluster) NewOwner(key string, old *Server) (*Server, error) {
	var now *Server
	err := until("another owner", func(ctx context.Context) bool {
		var err error
		now, _, err = c.Owner(key)
		return err == nil && now != old && strings.Contains(now.admin.ClusterInfo(ctx).Val(), "cluster_state:ok")
	})
	return now, err
}
