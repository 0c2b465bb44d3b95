// Package sqlaudit keeps the audit in SQLite or PostgreSQL, where it answers questions. It stands on database/sql alone: the
// driver is the caller's choice.
//
// A [Sink] writes each record once by its id, and with it, in the same transaction, what follows from it: what each call has
// come to, what each run has spent and holds, what was refused and by which rule, how full each budget was. Questions are
// answered from these tables and read no records. docs/audit.md says what stands in which.
//
//   - Nil from Write means that the record is committed and on the database's disk, whatever the connection's settings say.
//   - A record that comes again counts once. Another record of the same id is an error.
//   - What is derived is the same in whatever order the records come, and however late.
//   - What a call did cost is what [keybrake.Reconciler.Drift] says that it did.
//   - Nothing is made or changed in the tables' form unless Migrate is called.
//   - Whoever can write the database can change records, and [Sink.Verify] and [Sink.VerifyDerived] find what was changed, as
//     far as [audit.Verify] can: the sink has to stand behind an [audit.Chain], with a key that is not where the database is.
//
// What is held is what the records say. Where one call has taken over what another held, as a capture does from its
// authorisation, both may stand as held until a record tells the end of the first; the ledger knows better.
package sqlaudit
