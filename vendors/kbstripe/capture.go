package kbstripe

import (
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A capture is an explicit amount to capture, and the level that the object needs for it.
type capture struct {
	level int64
	send  []vendors.Param
}

// captureAmount takes the amount that the agent named, else all that can be captured. More than that is an
// overcapture or a tip added on a reader: possible on some accounts, bounded by nothing that was read here.
func captureAmount(c *vendors.Call, param string, capturable int64) (capture, error) {
	minor, ok, err := sentAmount(c, param)
	switch {
	case err != nil:
		return capture{}, err
	case capturable == 0:
		return capture{}, vendors.Refuse(reason.CostUnknown, "nothing is authorised that could be captured")
	case ok && minor > capturable:
		return capture{}, &vendors.Refusal{Code: reason.CostUnknown, Param: param, Detail: "it is more than was authorised; what an overcapture takes cannot be bounded, capture at most the authorised amount"}
	case !ok:
		minor = capturable
	}
	level := minor
	if final, ok := c.Get("final_capture"); ok && final != "true" {
		level = capturable
	}
	return capture{level, []vendors.Param{{Name: param, Value: digits(minor)}}}, nil
}

// onObject names the object of the path in a bound.
func onObject(c *vendors.Call) func(vendors.Bound, error) (vendors.Bound, error) {
	return func(b vendors.Bound, err error) (vendors.Bound, error) {
		if err != nil {
			return vendors.Bound{}, err
		}
		b.Object = c.IDs["id"]
		return b, nil
	}
}
