package kbstripe

import (
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A standing amount is one that only an object at Stripe names: it is read just before the call.
type standing struct {
	operation string // the read, without "stripe."
	path      string // of the object, up to its id
	kind      string
	amount    func(*reader) int64
}

// named is the amount in the field of that name.
func named(field string) func(*reader) int64 {
	return func(o *reader) int64 { return o.amount(field) }
}

// look asks for the object.
func (s standing) look(id string) vendors.Bound { return look("stripe."+s.operation, s.path+id) }

// read is the object and what it says.
func (s standing) read(id string, seen *vendors.Reply) (*reader, money, error) {
	o, err := probed(seen, s.kind, id)
	if err != nil {
		return nil, money{}, err
	}
	m := money{s.amount(o), o.currency()}
	return o, m, probeError(o.err)
}

// bound is the amount of the object in the path.
func (s standing) bound(meter cost.Meter) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
		if seen == nil {
			return s.look(c.IDs["id"]), nil
		}
		_, m, err := s.read(c.IDs["id"], seen)
		if err != nil {
			return vendors.Bound{}, err
		}
		return m.bound(meter, "amount")
	}
}
