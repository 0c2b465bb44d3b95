// Package sqlaudit keeps the audit in SQLite or PostgreSQL, where it answers questions. It stands on database/sql alone: the
// driver is the caller's choice.
package sqlaudit
