package fakevendor

import "fmt"

// failedFee is what Twilio bills for a message that failed (Twilio's documentation, read November 2026).
const failedFee = 1_000

// Conclude lets happen at the vendor what is decided days after the reply. It is
// an execution that no request asked for, of kind resource.conclude. The object
// may be
//
//   - a payment intent that is processing: ok collects it, else it fails;
//   - a payout that is pending or paid: ok pays it, else the bank returns it;
//   - a refund that succeeded or waits: ok completes it, else it fails;
//   - a top-up that is pending: ok completes it, else it fails;
//   - a Twilio message not yet delivered, with ok false: it fails, for a
//     smaller fee ([Server.FillPrices] is for the others).
//
// What comes back is logged as a negative Amount on the meter that it left.
func (s *Server) Conclude(id string, ok bool) error {
	w := s.world.Load()
	if w.stripe.conclude(id, ok) || !ok && w.twilio.fail(id) {
		return nil
	}
	return fmt.Errorf("fakevendor: there is nothing to conclude about %s", id)
}

// conclude reports whether id is an object of Stripe's that is still open.
func (v *stripe) conclude(id string, ok bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	it := v.byID[id]
	if it == nil {
		return false
	}
	o := it.object
	var e Execution
	switch kind, status := o.str("object"), o.str("status"); {
	case kind == "payment_intent" && status == processing:
		e = v.concludeIntent(o, ok)
	case kind == "payout" && (status == "pending" || status == "paid"):
		e = concludeSpend(o, ok, "paid")
	case kind == "topup" && status == "pending":
		e = concludeTopup(o, ok)
	case kind == "refund" && (status == succeeded || status == needsAction || status == "pending"):
		e = concludeSpend(o, ok, succeeded)
		if !ok {
			v.unrefund(o)
		}
	default:
		return false
	}
	e.Vendor, e.Kind, e.Object, e.Request = "stripe", o.str("object")+".conclude", id, -1
	v.enter(it.scope, e.Kind, o, e)
	v.world.journal.execute(e)
	return true
}

func (v *stripe) concludeIntent(o object, paid bool) Execution {
	ch := v.byID[o.str("latest_charge")].object
	if !paid {
		o["status"], o["payment_method"], ch["status"] = needsMethod, nil, "failed"
		return money(false, MeterCharge, o.int("amount"), o)
	}
	v.collect(ch, o, ch.int("amount"))
	o["status"], ch["status"], ch["paid"] = succeeded, succeeded, true
	return money(true, MeterCharge, ch.int("amount"), o)
}

// concludeSpend ends what already counts as spent: it stays so, or comes back.
func concludeSpend(o object, ok bool, done string) Execution {
	if ok {
		o["status"] = done
		return money(false, MeterOutflow, o.int("amount"), o)
	}
	o["status"] = "failed"
	return money(true, MeterOutflow, -o.int("amount"), o)
}

// concludeTopup ends a top-up, which counts as charged from the start.
func concludeTopup(o object, ok bool) Execution {
	e := concludeSpend(o, ok, succeeded)
	e.Meter = MeterCharge
	return e
}

// unrefund lets the charge of a refund that came to nothing be refunded again.
func (v *stripe) unrefund(refund object) {
	ch := v.byID[refund.str("charge")].object
	ch.add("amount_refunded", -refund.int("amount"))
	ch["refunded"] = false
}

// fail reports whether sid is a message that was still to be delivered.
func (v *twilio) fail(sid string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.messages {
		if m.sid != sid || m.priced || m.status == "canceled" {
			continue
		}
		back := failedFee - m.fee
		m.status, m.priced, m.fee = "failed", true, failedFee
		v.world.journal.execute(Execution{
			Vendor: "twilio", Kind: "sms.conclude", Object: sid, Money: true, Meter: MeterFee,
			Amount: back, Currency: "USD", Account: m.account, Request: -1,
		})
		return true
	}
	return false
}
