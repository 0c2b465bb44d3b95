package otelaudit

import "sync"

// other stands for the names that came after the bound.
const other = "_OTHER"

// names tells the first so many names apart. It forgets none: a series that was begun goes on.
type names struct {
	most int

	mu   sync.Mutex
	seen map[string]bool
}

// known reports whether s is among the first.
func (n *names) known(s string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[s] {
		return true
	}
	if len(n.seen) >= n.most {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[s] = true
	return true
}

// of is s, or what stands for it; empty where names are left out.
func (n *names) of(s string) string {
	switch {
	case n.most <= 0 || s == "":
		return ""
	case n.known(s):
		return s
	}
	return other
}
