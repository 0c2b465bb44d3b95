package fakevendor

var customerFields = []string{"email", "name", "phone", "description"}

func (v *stripe) createCustomer(c *stripeCall) (object, *stripeError) {
	o := object{"balance": int64(0), "currency": nil, "delinquent": false, "default_source": nil}
	for _, name := range customerFields {
		o[name] = orNull(c.form.str(name))
	}
	v.store(c, "customer", "cus", o)
	v.log(c, "customer.create", o, Execution{})
	return o, nil
}

// deleteCustomer leaves a tombstone, which can still be retrieved.
func (v *stripe) deleteCustomer(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "customer", "id", c.id())
	if err != nil || o.is("deleted") {
		return nil, noSuch("customer", "id", c.id())
	}
	clear(o)
	o["id"], o["object"], o["deleted"] = c.id(), "customer", true
	v.log(c, "customer.delete", o, Execution{})
	return o, nil
}
