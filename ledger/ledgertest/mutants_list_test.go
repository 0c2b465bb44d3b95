package ledgertest_test

import (
	"context"

	"github.com/keybrake/keybrake-go/ledger"
)

func init() {
	mutants = append(mutants,
		mutant{"list", "lists what is open alone", func(b base) ledger.Ledger { return openLists{b} }},
		mutant{"list", "lists one page", func(b base) ledger.Ledger { return onePage{b} }},
		mutant{"list-end", "goes on with a list that was ended", func(b base) ledger.Ledger { return unending{b} }},
	)
}

type openLists struct{ base }

func (m openLists) Reservations(ctx context.Context, t string, each func(ledger.Hold) error) error {
	holds, err := m.Unsettled(ctx, t)
	for _, h := range holds {
		if err := each(h); err != nil {
			return err
		}
	}
	return err
}

type onePage struct{ base }

func (m onePage) Reservations(ctx context.Context, t string, each func(ledger.Hold) error) error {
	n := 0
	return m.base.Reservations(ctx, t, func(h ledger.Hold) error {
		if n++; n > 200 {
			return nil
		}
		return each(h)
	})
}

type unending struct{ base }

func (m unending) Reservations(ctx context.Context, t string, each func(ledger.Hold) error) error {
	var ended error
	err := m.base.Reservations(ctx, t, func(h ledger.Hold) error {
		if err := each(h); err != nil {
			ended = err
		}
		return nil
	})
	if err == nil {
		err = ended
	}
	return err
}
