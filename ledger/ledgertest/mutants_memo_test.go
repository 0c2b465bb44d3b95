package ledgertest_test

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/ledger"
)

func init() {
	mutants = append(mutants,
		mutant{"memo", "keeps what a call brings along only with an idempotency key", func(b base) ledger.Ledger { return claimedMemos{b} }},
		mutant{"memo", "lists open calls without what they brought along", func(b base) ledger.Ledger { return bareLists{b} }},
		mutant{"memo-settle", "keeps the memo of the reserve alone", func(b base) ledger.Ledger { return firstMemo{b} }},
		mutant{"memo-settle", "takes an empty memo for a new one", func(b base) ledger.Ledger { return wiping{b} }},
		mutant{"memo-same", "takes another memo for another settlement", func(b base) ledger.Ledger { return pedantic{b} }},
		mutant{"memo-same", "takes the memo of a settlement that it refuses", func(b base) ledger.Ledger { return newLoose(b, ledger.Settled) }},
		mutant{"memo-doubt", "takes the memo of a doubt that comes too late", func(b base) ledger.Ledger { return newLoose(b, ledger.Doubt) }},
		mutant{"memo-any", "does not book an outcome whose memo is not text", func(b base) ledger.Ledger { return literate{b} }},
	)
}

type claimedMemos struct{ base }

func (m claimedMemos) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	memo := r.Memo
	if r.Claim == nil {
		r.Memo = ""
	}
	h, err := m.base.Reserve(ctx, r)
	h.Memo = memo // only what is read later shows it
	return h, err
}

type bareLists struct{ base }

func (m bareLists) Unsettled(ctx context.Context, t string, names ...string) ([]ledger.Hold, error) {
	list, err := m.base.Unsettled(ctx, t, names...)
	for i := range list {
		list[i].Memo = ""
	}
	return list, err
}

type firstMemo struct{ base }

func (m firstMemo) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	s.Memo = ""
	return m.base.Settle(ctx, h, s)
}

type wiping struct{ base }

func (m wiping) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if s.Memo == "" {
		s.Memo = "-"
	}
	return m.base.Settle(ctx, h, s)
}

type pedantic struct{ base }

func (m pedantic) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if found, err := m.Find(ctx, h.Tenant, h.ID); err == nil && found.Phase == ledger.Settled && s.Memo != "" && s.Memo != found.Memo {
		return ledger.Receipt{}, ledger.ErrSettled
	}
	return m.base.Settle(ctx, h, s)
}

// looseMemos takes every memo of a settlement of one phase.
type looseMemos struct {
	base
	phase ledger.Phase
	memos map[string]string
}

func newLoose(b base, phase ledger.Phase) looseMemos {
	return looseMemos{b, phase, map[string]string{}}
}

func (m looseMemos) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	delete(m.memos, h.ID)
	if s.Phase == m.phase && s.Memo != "" {
		m.memos[h.ID] = s.Memo
	}
	return m.base.Settle(ctx, h, s)
}

func (m looseMemos) Find(ctx context.Context, t, id string) (ledger.Hold, error) {
	h, err := m.base.Find(ctx, t, id)
	if memo, ok := m.memos[id]; ok {
		h.Memo = memo
	}
	return h, err
}

type literate struct{ base }

func (m literate) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if !utf8.ValidString(s.Memo) {
		return ledger.Receipt{}, errors.New("not text")
	}
	return m.base.Settle(ctx, h, s)
}
