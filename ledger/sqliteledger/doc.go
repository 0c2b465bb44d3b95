package sqliteledger

import (
	_ "github.com/keybrake/keybrake-go/ledger"
	_ "modernc.org/sqlite"
)
