package processtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/ledger"
)

// TestMain is where the processes begin too: this binary, with a setup in its environment.
func TestMain(m *testing.M) {
	setup := os.Getenv(childEnv)
	if setup == "" {
		os.Exit(m.Run())
	}
	if err := runChild(setup); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A process is a running [Child].
type process struct {
	cmd    *exec.Cmd
	rpc    *rpc.Client
	audit  string       // the file with its records
	stderr bytes.Buffer // to be read when it has ended
	killed bool
}

// start starts a process, which ends with the test.
func (w *world) start(t *testing.T, change func(*Setup)) *process {
	t.Helper()
	s := Setup{
		Redis: w.redis, Vendor: w.fake.Addr(), CA: w.fake.CA(), Public: w.issuer.Public(),
		Audit: filepath.Join(t.TempDir(), "audit.jsonl"), Answer: time.Minute,
	}
	if change != nil {
		change(&s)
	}
	config, err := json.Marshal(s)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	p := &process{cmd: exec.Command(self), audit: s.Audit}
	// The race detector would have each process sleep for a second before it exits.
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(config), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	p.rpc = rpc.NewClient(pipe{out, in})
	t.Cleanup(func() { p.end(t) })
	p.ask(t, "Ready", 0, nil)
	return p
}

// end lets the process go and looks at how it went: the race detector speaks by the exit status.
func (p *process) end(t *testing.T) {
	if !p.killed {
		late := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
		defer late.Stop()
		_ = p.rpc.Close()
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("a process ended badly: %v", err)
		}
	}
	if strings.Contains(p.stderr.String(), "DATA RACE") {
		t.Error("a data race in a process")
	}
	if t.Failed() && p.stderr.String() != "" {
		t.Logf("a process said:\n%s", p.stderr.String())
	}
}

// kill is kill -9: the process gets no chance to do anything.
func (p *process) kill(t *testing.T) {
	t.Helper()
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	p.killed = true
	if p.cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself before it was killed: %v", p.cmd.ProcessState)
	}
	_ = p.rpc.Close()
}

// ask calls a method of the process and waits for the answer.
func (p *process) ask(t *testing.T, method string, args, answer any) {
	t.Helper()
	if answer == nil {
		answer = new(int)
	}
	if err := p.rpc.Call("Child."+method, args, answer); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// A pending is the calls that a process was told to make.
type pending struct {
	done    chan *rpc.Call
	results []Result
}

// begin makes all calls at the same time and does not wait for them.
func (p *process) begin(calls ...Call) *pending {
	w := &pending{done: make(chan *rpc.Call, len(calls)), results: make([]Result, len(calls))}
	for i, c := range calls {
		p.rpc.Go("Child.Call", c, &w.results[i], w.done)
	}
	return w
}

// wait returns the results in the order of the calls.
func (w *pending) wait(t *testing.T) []Result {
	t.Helper()
	for range w.results {
		must(t, (<-w.done).Error)
	}
	return w.results
}

// calls makes all calls at the same time and waits for them.
func (p *process) calls(t *testing.T, calls ...Call) []Result {
	t.Helper()
	return p.begin(calls...).wait(t)
}

// call makes one call and waits for it.
func (p *process) call(t *testing.T, c Call) Result {
	t.Helper()
	return p.calls(t, c)[0]
}

// stopped waits until all the calls have reached the point at which the process stops them.
func (p *process) stopped(t *testing.T, w *pending) {
	t.Helper()
	select {
	case s := <-p.rpc.Go("Child.Stopped", len(w.results), new(int), make(chan *rpc.Call, 1)).Done:
		must(t, s.Error)
	case c := <-w.done:
		t.Fatalf("a call never came to its point: %v %+v", c.Error, c.Reply)
	}
}

func (p *process) goOn(t *testing.T) {
	t.Helper()
	p.ask(t, "GoOn", 0, nil)
}

// control carries out a verb, which has to succeed.
func (p *process) control(t *testing.T, verb ledger.Verb, h halt) {
	t.Helper()
	p.ask(t, "Control", Order{Verb: verb, Kind: h.kind, Tenant: h.tenant, Name: h.name}, nil)
}

// records are what the process has put on record, whether or not it still lives.
func (p *process) records(t *testing.T) []audit.Record {
	t.Helper()
	file, err := os.Open(p.audit)
	must(t, err)
	defer file.Close()
	var all []audit.Record
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r audit.Record
		must(t, json.Unmarshal(lines.Bytes(), &r))
		all = append(all, r)
	}
	return all
}
