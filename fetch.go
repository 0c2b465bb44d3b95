package keybrake

import (
	"errors"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/vendors"
)

// place reads a credential as the vendor's. An adapter's error may quote what it cannot read.
func place(v *vendors.Vendor, c credentials.Credential) (p vendors.Placement, err error) {
	parts := c.Reveal()
	secrets := slices.Clone(parts)
	for _, part := range parts { // one string may hold several
		secrets = append(secrets, strings.Split(part, ":")...)
	}
	if err = contain(func() (err error) { p, err = v.Place(parts); return err }); err != nil {
		return vendors.Placement{}, errors.New(scrub(vendors.Placement{Secrets: secrets}, err.Error()))
	}
	return p, nil
}
