module github.com/keybrake/keybrake-go/internal/torture

go 1.25.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/keybrake/keybrake-go v0.0.0
	github.com/keybrake/keybrake-go/ledger/sqliteledger v0.0.0
	github.com/redis/go-redis/v9 v9.17.3
	pgregory.net/rapid v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgryski/go-rendezvous v0.0.0-20200823014737-9f7001d12a5f // indirect
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.0.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	go.yaml.in/yaml/v4 v4.0.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	modernc.org/libc v1.75.7 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.59.0 // indirect
)

replace (
	github.com/keybrake/keybrake-go => ../..
	github.com/keybrake/keybrake-go/ledger/sqliteledger => ../../ledger/sqliteledger
)
