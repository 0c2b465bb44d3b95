package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

// The laws that every sink obeys. The kit needs to read back what was written: here, the last column.
func TestTheSheetObeysTheLawsOfSinks(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		var out bytes.Buffer
		return NewSheet(&out), func() []audit.Record { return records(t, out.String()) }
	})
}

func TestASheetOnAFullDiskSaysSo(t *testing.T) {
	audittest.RunBroken(t, func() audit.Sink { return NewSheet(full{}) })
	if err := NewSheet(full{}).Check(t.Context()); err == nil {
		t.Error("Check finds nothing wrong with it")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func rows(t *testing.T, sheet string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(sheet)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return nil
	}
	return all[1:]
}

func records(t *testing.T, sheet string) (all []audit.Record) {
	t.Helper()
	for _, row := range rows(t, sheet) {
		var r audit.Record
		if err := json.Unmarshal([]byte(row[len(row)-1]), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestEveryCallOfARunIsInTheSheet(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	const send = "resend.emails.send"
	want := [][]string{
		{"control", "run_42", "", "", "", "", ""},
		{"intent", "run_42", send, "allow", "", "", ""},
		{"outcome", "run_42", send, "allow", "", "executed", "0.0009"},
		{"intent", "run_42", send, "allow", "", "", ""},
		{"outcome", "run_42", send, "allow", "", "executed", "0.0009"},
		{"denied", "run_42", send, "deny", "budget_exceeded", "", ""},
	}
	got := rows(t, out.String())
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d:\n%s", len(got), len(want), out.String())
	}
	for i := range want {
		if !slices.Equal(got[i][1:8], want[i]) {
			t.Errorf("row %d: got %q, want %q", i, got[i][1:8], want[i])
		}
	}
}
