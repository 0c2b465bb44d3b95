package sqliteledger_test

import (
	"testing"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

func TestLaws(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, clock *ledgertest.Clock) ledger.Ledger {
		return at(t, unsynced(t), &sqliteledger.Options{Now: clock.Now})
	})
}
