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
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	audittest.SetPatience(300 * time.Millisecond)
	defer audittest.SetPatience(10 * time.Second)
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
		"tears long records": {law: "none is lost, doubled or torn", wrong: func(m *mutant, _ context.Context, r audit.Record) error {
			r.Detail = r.Detail[:min(len(r.Detail), 512)]
			return m.keepCopy(r)
		}},
		"ignores its context": {law: "when the context has ended", wrong: func(m *mutant, ctx context.Context, r audit.Record) error {
			if ctx.Err() != nil {
				select {} // as one that waits for its store and not for its context
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

// A batchMutant takes batches, and one thing is wrong with that.
type batchMutant struct {
	mutant
	wrongBatch func(m *batchMutant, ctx context.Context, rs []audit.Record) error
}

func (m *batchMutant) Write(_ context.Context, r audit.Record) error { return m.keepCopy(r) }

func (m *batchMutant) WriteBatch(ctx context.Context, rs []audit.Record) error {
	return m.wrongBatch(m, ctx, rs)
}

func (m *batchMutant) keepAll(rs []audit.Record) (err error) {
	for _, r := range rs {
		err = errors.Join(err, m.keepCopy(r))
	}
	return err
}

// untilItEnds keeps a batch up to where its context has ended.
func (m *batchMutant) untilItEnds(ctx context.Context, rs []audit.Record) error {
	for _, r := range rs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.keepCopy(r); err != nil {
			return err
		}
	}
	return nil
}

// Every law of batches catches the sink that breaks it, and a sink that breaks none passes.
func TestBatchMutants(t *testing.T) {
	var busy atomic.Bool
	for name, tt := range map[string]struct {
		law   string // none: it passes
		wrong func(m *batchMutant, ctx context.Context, rs []audit.Record) error
	}{
		"nothing":            {"", func(m *batchMutant, ctx context.Context, rs []audit.Record) error { return m.keepAll(rs) }},
		"stops in the midst": {"", (*batchMutant).untilItEnds},
		"keeps half": {"a batch reads back whole", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			return m.keepAll(rs[:(len(rs)+1)/2])
		}},
		"keeps the last alone": {"a batch reads back whole", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			return m.keepCopy(rs[len(rs)-1])
		}},
		"keeps it twice": {"a batch reads back whole", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			return errors.Join(m.keepAll(rs), m.keepAll(rs))
		}},
		"changes a field": {"a batch reads back whole", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			for _, r := range rs {
				r.Status++
				_ = m.keepCopy(r)
			}
			return nil
		}},
		"panics": {"a batch reads back whole", func(*batchMutant, context.Context, []audit.Record) error { panic("full") }},
		"drops a batch while busy": {"of batches and records written at once", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			if !busy.CompareAndSwap(false, true) {
				return nil
			}
			defer busy.Store(false)
			runtime.Gosched()
			return m.keepAll(rs)
		}},
		"keeps the batch": {"the caller's batch afterwards", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.kept = append(m.kept, rs...) // with the slices of its records
			return nil
		}},
		"sorts the batch": {"changes nothing in the batch", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			slices.SortFunc(rs, func(a, b audit.Record) int { return strings.Compare(a.ID, b.ID) })
			return m.keepAll(rs)
		}},
		"links in place": {"changes nothing in the batch", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			for i := range rs {
				rs[i].Chain = nil
			}
			return m.keepAll(rs)
		}},
		"needs a record": {"a batch of no records", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			return errors.Join(m.keepCopy(rs[0]), m.keepAll(rs[1:]))
		}},
		"fails on none": {"a batch of no records", func(m *batchMutant, _ context.Context, rs []audit.Record) error {
			if len(rs) == 0 {
				return io.ErrUnexpectedEOF
			}
			return m.keepAll(rs)
		}},
		"gives up silently": {"when the context ends", func(m *batchMutant, ctx context.Context, rs []audit.Record) error {
			_ = m.untilItEnds(ctx, rs)
			return nil
		}},
		"keeps the last ones of what it gave up": {"when the context ends", func(m *batchMutant, ctx context.Context, rs []audit.Record) error {
			rs = slices.Clone(rs)
			slices.Reverse(rs)
			return m.untilItEnds(ctx, rs)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			err := audittest.Test(func() (audit.Sink, func() []audit.Record) {
				m := &batchMutant{wrongBatch: tt.wrong}
				return m, m.records
			})
			if (err == nil) != (tt.law == "") || err != nil && !strings.Contains(err.Error(), tt.law) {
				t.Errorf("%q did not catch it: %v", tt.law, err)
			}
		})
	}
}

// Every law of sinks that keep one record of each id catches the one that does not, and one that does passes.
func TestIdempotentMutants(t *testing.T) {
	has := func(m *batchMutant, r audit.Record) bool {
		return slices.ContainsFunc(m.kept, func(k audit.Record) bool { return k.ID == r.ID })
	}
	put := func(m *batchMutant, r audit.Record) {
		if !has(m, r) {
			m.kept = append(m.kept, r.Clone())
		}
	}
	good := func(m *batchMutant, rs []audit.Record) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, r := range rs {
			put(m, r)
		}
		return nil
	}
	errThere := errors.New("there is one of that id")
	for name, tt := range map[string]struct {
		law   string // none: it passes
		wrong func(m *batchMutant, rs []audit.Record) error
	}{
		"nothing":    {"", good},
		"keeps both": {"written again is there once", func(m *batchMutant, rs []audit.Record) error { return m.keepAll(rs) }},
		"refuses the second": {"written again is there once", func(m *batchMutant, rs []audit.Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, r := range rs {
				if has(m, r) {
					return errThere
				}
				put(m, r)
			}
			return nil
		}},
		"looks, then keeps": {"at the same time is there once", func(m *batchMutant, rs []audit.Record) error {
			for _, r := range rs {
				m.mu.Lock()
				there := has(m, r)
				m.mu.Unlock()
				runtime.Gosched()
				if !there {
					_ = m.keepCopy(r)
				}
			}
			return nil
		}},
		"looks for a batch's first record alone": {"a batch repeats is there once", func(m *batchMutant, rs []audit.Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if len(rs) > 0 && !has(m, rs[0]) {
				m.kept = append(m.kept, rs...)
			}
			return nil
		}},
		"leaves out a batch that repeats one": {"a batch repeats is there once", func(m *batchMutant, rs []audit.Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, r := range rs {
				if has(m, r) {
					return nil
				}
			}
			for _, r := range rs {
				put(m, r)
			}
			return nil
		}},
		"calls another link another record": {"under another link", func(m *batchMutant, rs []audit.Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, r := range rs {
				for _, k := range m.kept {
					if k.ID == r.ID && k.Chain.Hash != r.Chain.Hash {
						return errThere
					}
				}
				put(m, r)
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			err := audittest.TestIdempotent(func() (audit.Sink, func() []audit.Record) {
				m := &idempotentMutant{wrong: tt.wrong}
				return m, m.records
			})
			if (err == nil) != (tt.law == "") || err != nil && !strings.Contains(err.Error(), tt.law) {
				t.Errorf("%q did not catch it: %v", tt.law, err)
			}
		})
	}
	audittest.RunIdempotent(t, func() (audit.Sink, func() []audit.Record) {
		m := &idempotentMutant{wrong: good}
		return m, m.records
	})
}

type idempotentMutant struct {
	batchMutant
	wrong func(m *batchMutant, rs []audit.Record) error
}

func (m *idempotentMutant) Write(_ context.Context, r audit.Record) error {
	return m.wrong(&m.batchMutant, []audit.Record{r})
}

func (m *idempotentMutant) WriteBatch(_ context.Context, rs []audit.Record) error {
	return m.wrong(&m.batchMutant, rs)
}

type batcher interface {
	WriteBatch(ctx context.Context, rs []audit.Record) error
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
		"swallows a batch": func() audit.Sink {
			m := &batchMutant{wrongBatch: func(*batchMutant, context.Context, []audit.Record) error { return nil }}
			return struct {
				audit.Sink
				batcher
			}{&mutant{wrong: func(*mutant, context.Context, audit.Record) error { return io.ErrShortWrite }}, m}
		},
	} {
		if audittest.TestBroken(newSink) == nil {
			t.Errorf("%s: not caught", name)
		}
	}
}
