package fakevendor

import "sync"

// verdict is what an idempotency key says about a request.
type verdict int

const (
	fresh    verdict = iota // executed now
	replayed                // the stored reply of the first
	mismatch                // the first had other parameters
	inFlight                // the first has not finished
)

// keys remembers replies by idempotency key.
type keys struct {
	mu   sync.Mutex
	seen map[string]*memo
}

type memo struct {
	fingerprint string
	done        bool
	reply       reply
}

// once runs do for the first request with key and remembers its reply, if do
// says that it is to be kept. Only [fresh] and [replayed] return a reply.
func (k *keys) once(key, fingerprint string, do func() (r reply, keep bool)) (reply, verdict) {
	m, v := k.claim(key, fingerprint)
	if v == replayed {
		return m.reply.clone(), v
	}
	if v != fresh {
		return reply{}, v
	}
	r, keep := do()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !keep {
		delete(k.seen, key)
		return r, fresh
	}
	m.done, m.reply = true, r.clone()
	return r, fresh
}

// claim takes key for a new request or returns what holds it. A memo that is
// done does not change any more, so it can be read without the lock.
func (k *keys) claim(key, fingerprint string) (*memo, verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.seen[key]
	switch {
	case m == nil:
		if k.seen == nil {
			k.seen = map[string]*memo{}
		}
		m = &memo{fingerprint: fingerprint}
		k.seen[key] = m
		return m, fresh
	case m.fingerprint != fingerprint:
		return m, mismatch
	case !m.done:
		return m, inFlight
	}
	return m, replayed
}

// forget drops the finished ones; a key in flight stays claimed.
func (k *keys) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, m := range k.seen {
		if m.done {
			delete(k.seen, key)
		}
	}
}
