package fakevendor

// object is one object of a vendor as it answers it. Numbers are int64, so that
// what is stored is what is sent.
type object map[string]any

func (o object) str(name string) string {
	s, _ := o[name].(string)
	return s
}

func (o object) int(name string) int64 {
	n, _ := o[name].(int64)
	return n
}

func (o object) is(name string) bool {
	b, _ := o[name].(bool)
	return b
}

// add raises a number.
func (o object) add(name string, n int64) { o[name] = o.int(name) + n }

// copy is one level deep, which suffices to replace members of the copy.
func (o object) copy() object {
	c := make(object, len(o))
	for k, v := range o {
		c[k] = v
	}
	return c
}

// orNull is s, or JSON null where s is empty.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
