// Package sqliteledger keeps the books in one SQLite file, for the processes of one machine, without a server. It
// needs no cgo. It is a module of its own, so that only who imports it has the database driver.
//
//	l := sqliteledger.New("/var/lib/agent/ledger.db", nil)
//	defer l.Close()
//	brake, err := keybrake.New(ctx, keybrake.Config{Ledger: l, …})
//
// # What it promises
//
//   - A verb that has returned without error is on disk: each commit waits for it (journal_mode WAL, synchronous
//     FULL). A kill or a power cut loses nothing that was acknowledged, and leaves no verb in part. That is as true
//     as the disk is honest about what it has written.
//   - Any number of processes and goroutines may use the file at the same time; each verb is one transaction, taken
//     in one order, so they share every limit exactly. Verbs of one process that wait at the same time share a
//     commit, so many goroutines get many times the throughput of one.
//   - Windows, repeat rules and expiry follow the machine's clock, in whole microseconds. When it goes back, the newer
//     window stands.
//   - An alert is stored in the same commit as what has crossed the threshold.
//   - Who watches hears of the controls that any process makes within about a tenth of a second: Watch asks the file
//     ten times a second, and nothing asks while nobody watches.
//   - A file that is damaged, cut off, not a ledger, of a newer version, or lacks a table or a column is refused with
//     an error that says what to do. Nothing repairs it and nothing starts over in its place: that would set spent
//     amounts to zero.
//
// Use ledger/memory for tests and for one run of one program, ledger/redisledger where several machines share
// budgets.
//
// # Errors
//
// A [*ledger.Denied] is a verdict, and nothing was changed. Any other error means that the call must not be made.
// It says "not carried out" where that is certain; else the verb may have been carried out, and may be repeated as
// it is. A verb ends with its context or after [Options.Timeout], whichever is first. A verb that was still waiting
// for its turn then leaves nothing behind.
//
// When the disk is full or fails, reserves are refused and holds stand; settlements have to be said again later.
//
// # The file
//
// Three files, readable by their owner alone (mode 0600): ledger.db, ledger.db-wal (what was committed and not yet
// moved into the first) and ledger.db-shm (locks). The last process to close leaves the first alone. They belong
// together: who removes the -wal file, or restores an old copy, sets the books back, and that cannot be noticed.
// Back up with "sqlite3 ledger.db '.backup copy.db'" or VACUUM INTO, not with cp while it is in use. In a process
// that has the ledger open, nothing else may open the file, not even to read it: closing it would end SQLite's
// locks, as POSIX has it. Hard links to the file are not to be used under two names.
//
// Check, or else the first verb, makes the file if there is none, in a directory that exists. New books know no
// keys, so they deny all calls until keys are issued. A file that is there is looked through for damage: all of it
// up to 64 MiB (about a second), beyond that all but the reservations and the kept texts.
//
// A finished reservation takes about 500 bytes and is kept for 31 days, so that a late or repeated verb finds it, and
// for 31 days more after each adjustment; a read for an hour. An open one, a shared budget and a control are kept for
// good, a key until 31 days after its expiry. A rolling window takes at most 61 rows and one for each older slot in
// which something is held; a repeat rule one for each call that still counts, at most [ledger.MostRepeats]; alerts
// wait to be acknowledged, the newest ten thousand of a tenant; leases and kept texts (Lease, Keep) go once their time
// is over, a little in passing. A memo comes on top of its reservation. Freed room is used again; the file does not shrink.
//
// schema.sql has the tables. Amounts are micro-units of a currency's major unit, or counts; times are Unix
// microseconds. They may be read by other programs, with a connection of their own, and must not be written.
//
// # Not promised
//
// Network file systems are refused where the operating system names them: NFS, SMB, 9P, Ceph, Lustre, AFS and the
// like on Linux; all that are not local on macOS and FreeBSD; \\server\share elsewhere. Not detected: FUSE (sshfs,
// the shared folders of container desktops), a network drive with a letter on Windows, a block device that two
// machines mount at once. On a tmpfs the books go with the machine's restart, and then deny.
//
// Whoever can write the file can change what is spent. It holds no token and no credential; it does hold the names
// of tenants, keys and runs.
package sqliteledger
