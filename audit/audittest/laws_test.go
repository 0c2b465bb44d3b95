package audittest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
)

func TestRecorder(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		var r audittest.Recorder
		return &r, r.Records
	})
	audittest.RunBroken(t, func() audit.Sink {
		var r audittest.Recorder
		r.Fail(errors.New("full"))
		return &r
	})
}

func TestRecorderFails(t *testing.T) {
	var r audittest.Recorder
	full := errors.New("full")
	r.Fail(full)
	if err := r.Write(t.Context(), audittest.Full()); !errors.Is(err, full) || len(r.Records()) != 0 {
		t.Errorf("got %v with %d records", err, len(r.Records()))
	}
	r.Fail(nil)
	if err := r.Write(t.Context(), audittest.Full()); err != nil || len(r.Records()) != 1 {
		t.Errorf("got %v with %d records", err, len(r.Records()))
	}
}

func TestRecordsAreTheCallers(t *testing.T) {
	var r audittest.Recorder
	if err := r.Write(t.Context(), audittest.Full()); err != nil {
		t.Fatal(err)
	}
	r.Records()[0].Budgets[0].Name = "spoiled"
	if got := r.Records()[0]; !reflect.DeepEqual(got, audittest.Full()) {
		t.Errorf("got %+v", got)
	}
}

// Full has every field set, down to the last, or the laws would not see one lost.
func TestFull(t *testing.T) {
	filled(t, "Record", reflect.ValueOf(audittest.Full()))
}

func filled(t *testing.T, path string, v reflect.Value) {
	if v.IsZero() {
		t.Errorf("%s is not set", path)
	}
	switch {
	case v.Type().PkgPath() == "time":
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			filled(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		filled(t, path+"[0]", v.Index(0))
	}
}

// A mutant is a sink of JSON lines with one thing wrong.
type mutant struct {
	mu     sync.Mutex
	kept   []audit.Record
	lines  bytes.Buffer
	wrong  func(m *mutant, ctx context.Context, r audit.Record) error
	asText bool
}

func (m *mutant) Write(ctx context.Context, r audit.Record) error { return m.wrong(m, ctx, r) }

func (m *mutant) keep(r audit.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = append(m.kept, r)
	return nil
}

func (m *mutant) keepCopy(r audit.Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var c audit.Record
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	return m.keep(c)
}

func (m *mutant) records() []audit.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.asText {
		return slices.Clone(m.kept)
	}
	var out []audit.Record
	for in := bufio.NewScanner(&m.lines); in.Scan(); {
		var r audit.Record
		_ = json.Unmarshal(in.Bytes(), &r)
		out = append(out, r)
	}
	return out
}

// Every law catches the sink that breaks it.
func TestMutants(t *testing.T) {
	busy := make(chan struct{}, 1)
	for name, tt := range map[string]struct {
		law   string
		text  bool
		wrong func(m *mutant, ctx context.Context, r audit.Record) error
	}{
		"forgets a field": {law: "with every field as it was", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			r.LedgerDuration = 0
			return m.keepCopy(r)
		}},
		"rounds the time": {law: "with every field as it was", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			r.Time = r.Time.Truncate(1000)
			return m.keepCopy(r)
		}},
		"keeps nothing": {law: "as soon as Write has returned", wrong: func(*mutant, context.Context, audit.Record) error { return nil }},
		"keeps twice": {law: "as soon as Write has returned", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			return errors.Join(m.keepCopy(r), m.keepCopy(r))
		}},
		"panics": {law: "as soon as Write has returned", wrong: func(*mutant, context.Context, audit.Record) error { panic("full") }},
		"fills in defaults": {law: "not set reads back as not set", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			if r.Labels == nil {
				r.Labels = []string{""}
			}
			return m.keepCopy(r)
		}},
		"writes text as it comes": {law: "break its line", text: true, wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			_, err := fmt.Fprintf(&m.lines, "{\"v\":1,\"agent\":\"%s\"}\n", r.Agent)
			return err
		}},
		"strips what it does not like": {law: "break its line", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			r.Agent = strings.ReplaceAll(r.Agent, "\x1b", "")
			return m.keepCopy(r)
		}},
		"cuts at what is not text": {law: "not UTF-8", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			if i := strings.IndexByte(r.Agent, 0xff); i >= 0 {
				r.Agent = r.Agent[i : i+2]
			}
			return m.keep(r)
		}},
		"drops while busy": {law: "none is lost", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			select {
			case busy <- struct{}{}:
				defer func() { <-busy }()
				for range 100 {
					_ = m.keepCopy(audit.Record{})
				}
				return m.keepCopy(r)
			default:
				return nil
			}
		}},
		"keeps the slices": {law: "caller's slices", wrong: func(m *mutant, _ context.Context, r audit.Record) error { return m.keep(r) }},
		"sorts in place": {law: "changes nothing in the record", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			slices.Sort(r.Labels)
			return m.keepCopy(r)
		}},
		"gives up silently": {law: "when the context has ended", wrong: func(m *mutant, ctx context.Context, r audit.Record) error {
			if ctx.Err() != nil {
				return nil
			}
			return m.keepCopy(r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			err := audittest.Test(func() (audit.Sink, func() []audit.Record) {
				m := &mutant{wrong: tt.wrong, asText: tt.text}
				return m, m.records
			})
			if err == nil || !strings.Contains(err.Error(), tt.law) {
				t.Errorf("%q did not catch it: %v", tt.law, err)
			}
		})
	}
}

func TestBrokenMutants(t *testing.T) {
	for name, newSink := range map[string]func() audit.Sink{
		"swallows": func() audit.Sink {
			return &mutant{wrong: func(*mutant, context.Context, audit.Record) error { _ = io.ErrShortWrite; return nil }}
		},
		"fails once": func() audit.Sink {
			var once sync.Once
			return &mutant{wrong: func(*mutant, context.Context, audit.Record) (err error) {
				once.Do(func() { err = io.ErrShortWrite })
				return err
			}}
		},
	} {
		if audittest.TestBroken(newSink) == nil {
			t.Errorf("%s: not caught", name)
		}
	}
}
