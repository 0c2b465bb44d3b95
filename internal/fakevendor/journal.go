package fakevendor

import (
	"bytes"
	"net/http"
	"sync"
	"time"
)

// Meters that an execution can belong to. Inflow is money that comes back by an
// inverse operation (a payout or transfer reversed); it lowers nothing.
const (
	MeterCharge  = "charge"
	MeterOutflow = "outflow"
	MeterFee     = "fee"
	MeterInflow  = "inflow"
)

// Execution is one thing that a vendor really did. A write makes one; a batch
// of mails makes one for each mail. Reads, refused requests and idempotent
// replays make none. A declined card makes one that moved no money.
type Execution struct {
	Seq    int    // 1 for the first
	Vendor string // stripe, twilio or resend
	// Kind is resource.verb, or the resource alone where its creation is the
	// money: payment_intent.create, .update, .confirm, .capture, .cancel,
	// .increment_authorization; charge, charge.update, charge.capture;
	// refund, refund.update, refund.cancel; transfer, transfer.update,
	// transfer.reverse; payout, payout.update, payout.cancel, payout.reverse;
	// topup, topup.update, topup.cancel; subscription.create, of whose first charge it
	// is, subscription.cancel;
	// customer.create, .update, .delete; sms, sms.cancel, sms.delete, sms.redact,
	// call, call.update, call.delete, call.conclude, which alone is billed;
	// email, email.update, email.cancel. What [Server.Conclude] does is
	// resource.conclude.
	Kind   string
	Object string // the vendor's id
	Money  bool   // money moved with this execution
	Meter  string // the side of the books; empty where no money is concerned
	// Amount is in micro-units of the currency's major unit: what moved if Money,
	// else the amount that the object now stands at. It is negative where a
	// cancellation gave back what an earlier execution had taken.
	Amount         int64
	Currency       string // upper case
	Units          int64  // SMS segments or mail recipients
	Credential     string // the secret as it arrived; Twilio's is user:password
	Account        string // Stripe-Account, or Twilio's account SID in the path
	IdempotencyKey string
	Request        int // index into Received; -1 for what no request did
}

// Received is one request that arrived whole, executed or not.
type Received struct {
	Method   string
	Host     string
	Path     string // as on the wire, still escaped
	RawQuery string
	Header   http.Header
	Body     []byte
	Time     time.Time
	Status   int // of the answer; 0 when there was none (yet)
}

// billed is the Execution of a fee in micro-USD for so many units.
func billed(fee, units int64) Execution {
	return Execution{Money: true, Meter: MeterFee, Amount: fee, Currency: "USD", Units: units}
}

// journal is the log of both. Entries are only ever appended.
type journal struct {
	mu         sync.Mutex
	received   []Received
	executions []Execution
}

func (j *journal) receive(r Received) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.received = append(j.received, r)
	return len(j.received) - 1
}

func (j *journal) answered(index, status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.received[index].Status = status
}

func (j *journal) execute(e Execution) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Seq = len(j.executions) + 1
	j.executions = append(j.executions, e)
}

// Executions returns what was really executed, in order, as a copy.
func (s *Server) Executions() []Execution {
	j := &s.world.Load().journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Execution(nil), j.executions...)
}

// Received returns every request that arrived, executed or not, as a copy.
func (s *Server) Received() []Received {
	j := &s.world.Load().journal
	j.mu.Lock()
	defer j.mu.Unlock()
	out := append([]Received(nil), j.received...)
	for i := range out {
		out[i].Header = out[i].Header.Clone()
		out[i].Body = bytes.Clone(out[i].Body)
	}
	return out
}

// Spent sums the executions that moved money: meter, then currency, then
// micro-units. A cancelled refund, payout or message counts for nothing, as its
// two executions add up to zero. Twilio's fee counts from the start at the price
// that the message will finally have.
func (s *Server) Spent() map[string]map[string]int64 {
	sum := map[string]map[string]int64{}
	for _, e := range s.Executions() {
		if !e.Money {
			continue
		}
		if sum[e.Meter] == nil {
			sum[e.Meter] = map[string]int64{}
		}
		sum[e.Meter][e.Currency] += e.Amount
	}
	return sum
}
