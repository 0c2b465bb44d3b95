package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

// A Sheet is a sink that writes each record as one row of CSV: a few columns to sort and sum by, and in the last one
// the whole record, as audit.JSON writes it. What an agent has a say in, such as the name of its tool, stands in
// the last column alone, where it is escaped.
//
// The record is as durable as the writer makes it. When a row fails, all after it fail too: it may stand there in
// part, and then what follows could not be read.
type Sheet struct {
	mu   sync.Mutex // the brake writes from many goroutines at once
	rows *csv.Writer
}

var columns = []string{"time", "kind", "run", "operation", "verdict", "reason", "outcome", "actual USD", "record"}

// NewSheet writes the head of the sheet. Its error comes back from the first Write and from Check.
func NewSheet(w io.Writer) *Sheet {
	s := &Sheet{rows: csv.NewWriter(w)}
	_ = s.rows.Write(columns)
	return s
}

// Write is all that a sink has to have. It returns nil only when the row is with the writer.
func (s *Sheet) Write(ctx context.Context, r audit.Record) error {
	var whole bytes.Buffer
	if err := audit.JSON(&whole).Write(ctx, r); err != nil {
		return err
	}
	row := []string{
		r.Time.Format(time.RFC3339Nano), string(r.Kind), r.Run, r.Operation, string(r.Verdict), string(r.Reason), r.Outcome,
		dollars(r), string(bytes.TrimSpace(whole.Bytes())),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rows.Write(row); err != nil {
		return fmt.Errorf("the sheet: %w", err)
	}
	s.rows.Flush() // or the row is only on its way when the call is forwarded
	if err := s.rows.Error(); err != nil {
		return fmt.Errorf("the sheet: %w", err)
	}
	return nil
}

// Check is asked by keybrake.New: a sheet that cannot be written is an error there and not at the first call.
func (s *Sheet) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows.Flush()
	return s.rows.Error()
}

// dollars is what the call did cost, where the record says so; counts are not money.
func dollars(r audit.Record) string {
	sum, err := cost.Sum(r.Actual, cost.Spend, "USD")
	if err != nil || len(r.Actual) == 0 {
		return ""
	}
	return cost.Decimal(sum)
}
