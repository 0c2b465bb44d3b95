// Package pgtest runs a real PostgreSQL for tests: one server of a test binary's own, as the system's package installs it,
// and in it a fresh database for each test. Commits wait for the disk, as in production.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	db, err := sql.Open("pgx", pgtest.Database(t))
package pgtest
