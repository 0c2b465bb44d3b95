package keybrake

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A herald stores in the ledger what the brake itself has seen and a person should hear of, for an [Alerter] to tell. It
// works in the background, so that no call waits for it, one alert at a time, and asks the ledger once for each thing and not
// for each sight of it: what is known to be stored, or was tried just now, costs a look into a table.
//
// What it keeps is bounded. Where the ledger does not answer, all that waits is dropped and stored when it is seen again: a
// run that goes on being refused is told of late, one that is refused no more may be told of by its records alone.
type herald struct {
	brake *Brake

	mu    sync.Mutex
	known map[sight]time.Time // until when it need not be stored again
	queue []sighting
	work  chan struct{} // closed when the goroutine that works on the queue ends; nil while there is none
}

type sight struct{ tenant, id string }

type sighting struct {
	sight
	alert ledger.Alert
}

const (
	mostSights  = 4096 // that are known; when there are more, all are forgotten, and the ledger knows them still
	mostQueued  = 256  // that wait to be stored; more are dropped
	sightStored = 24 * time.Hour
	sightTried  = time.Minute
)

// The kinds of alerts that the brake itself stores in the ledger.
const (
	alertDenied = ledger.AlertKind(audit.FirstDenial)
	alertDoubt  = ledger.AlertKind(audit.StillInDoubt)
	alertSink   = ledger.AlertKind(audit.SinkTrouble)
	alertPaused = ledger.AlertKind(audit.KeyFrozen) // the ledger has frozen another one
)

// A memo is what an alert carries of these kinds, as JSON: what the ledger does not know of it.
type memo struct {
	Agent     string        `json:"agent,omitempty"`
	Run       string        `json:"run,omitempty"`
	Operation string        `json:"operation,omitempty"`
	Reason    reason.Code   `json:"reason,omitempty"`
	Budget    *audit.Budget `json:"budget,omitempty"`
	Held      []cost.Line   `json:"held,omitempty"`
	Since     time.Time     `json:"since,omitzero"`
	Waiting   int64         `json:"waiting,omitempty"`
}

// text is m as the ledger keeps it.
func (m memo) text() string {
	text, _ := json.Marshal(m) // of such a struct it cannot fail
	return string(text)
}

func newHerald(b *Brake) *herald { return &herald{brake: b, known: map[sight]time.Time{}} }

// see stores an alert, once for its id; tell is asked for the rest of it.
func (h *herald) see(tenant, id string, tell func() ledger.Alert) {
	now, s := time.Now(), sight{tenant, id}
	h.mu.Lock()
	defer h.mu.Unlock()
	if until, ok := h.known[s]; ok && now.Before(until) || len(h.queue) == mostQueued {
		return
	}
	if len(h.known) >= mostSights {
		clear(h.known)
	}
	h.known[s] = now.Add(sightTried)
	a := tell()
	a.ID = id
	h.queue = append(h.queue, sighting{s, a})
	if h.work == nil {
		h.work = make(chan struct{})
		go h.store(h.work)
	}
}

// store stores what is in the queue, until nothing is.
func (h *herald) store(ended chan struct{}) {
	defer close(ended)
	for {
		h.mu.Lock()
		if len(h.queue) == 0 {
			h.queue, h.work = nil, nil
			h.mu.Unlock()
			return
		}
		next := h.queue[0]
		h.queue = h.queue[1:]
		h.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), h.brake.cfg.LedgerTimeout)
		err := h.brake.cfg.Ledger.Alert(ctx, next.tenant, next.alert)
		cancel()
		h.mu.Lock()
		if err == nil {
			h.known[next.sight] = time.Now().Add(sightStored)
		} else {
			h.queue = nil
		}
		h.mu.Unlock()
		if err != nil {
			h.brake.log().Warn("keybrake: the ledger did not store what a person should hear of; it will when it is seen again", "kind", string(next.alert.Kind), "tenant", next.tenant, "error", err)
		}
	}
}

// close waits until nothing is being stored.
func (h *herald) close(ctx context.Context) error {
	h.mu.Lock()
	work := h.work
	h.mu.Unlock()
	if work == nil {
		return nil
	}
	select {
	case <-work:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the ledger did not store in time what a person should hear of: %w", context.Cause(ctx))
	}
}

// sinkTrouble tells, once an hour over all processes, that the sink does not take records, or has waiting ones.
func (h *herald) sinkTrouble(waiting int64) {
	h.see("", "sink_trouble "+time.Now().UTC().Format("2006-01-02T15"), func() ledger.Alert {
		return ledger.Alert{Kind: alertSink, Memo: memo{Waiting: waiting}.text()}
	})
}

// seeDenial tells of the first refusal of a run. That its caller has given up is none.
func (a *attempt) seeDenial(d *Denial) {
	c := a.claims
	if c == nil || d.Reason == reason.Canceled {
		return
	}
	a.herald.see(c.Tenant, "first_denial "+c.Run, func() ledger.Alert {
		m := memo{Agent: c.Agent, Run: c.Run, Reason: d.Reason}
		if row := a.call.Operation; row != nil {
			m.Operation = row.Name
		}
		for _, s := range a.states {
			if d.Budget != "" && s.Name == d.Budget && m.Budget == nil {
				budget := budgetOf(s)
				m.Budget = &budget
			}
		}
		return ledger.Alert{Kind: alertDenied, Key: c.name(), Hold: a.id, Memo: m.text()}
	})
}

// seePaused tells that the key of a retry is stopped, whose first attempt, under another key, has overrun.
func (a *attempt) seePaused() {
	a.herald.see(a.claims.Tenant, "paused "+a.id, func() ledger.Alert {
		return ledger.Alert{Kind: alertPaused, Key: a.claims.ID, Hold: a.permit.Hold().ID, Memo: memo{}.text()}
	})
}
