package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// This program starts itself again as other processes, with a setup in the environment.
const childEnv = "KEYBRAKE_TORTURE"

// A Setup is which ledger a process opens.
type Setup struct {
	Redis   string // address, or
	File    string // path
	Timeout time.Duration
	Wait    time.Duration // for a reply of Redis
	Brake   *BrakeSetup   // nil: none
}

// open returns the ledger and what ends it.
func (s Setup) open() (ledger.Ledger, func() error) {
	if s.File != "" {
		l := sqliteledger.New(s.File, &sqliteledger.Options{Timeout: s.Timeout})
		return l, l.Close
	}
	rdb := redis.NewClient(&redis.Options{
		Addr: s.Redis, ReadTimeout: s.Wait, WriteTimeout: s.Wait, PoolSize: 32,
		MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 8 * time.Millisecond, DialerRetries: 1, DialTimeout: time.Second,
	})
	l := redisledger.New(rdb, &redisledger.Options{Timeout: s.Timeout})
	return l, func() error {
		if c, ok := any(l).(io.Closer); ok { // what it does in the background
			return errors.Join(c.Close(), rdb.Close())
		}
		return rdb.Close()
	}
}

// A Child is what a process offers to the one that started it, over its standard input and output.
type Child struct {
	ledger ledger.Ledger
	agent  *agent // with a brake alone
}

// runChild is the whole life of a process. It ends when whoever started it closes the pipe or dies.
func runChild(config string) error {
	var s Setup
	if err := json.Unmarshal([]byte(config), &s); err != nil {
		return err
	}
	c := &Child{}
	var end func() error
	c.ledger, end = s.open()
	if s.Brake != nil {
		var err error
		if c.agent, err = s.Brake.agent(c.ledger); err != nil {
			return err
		}
	}
	server := rpc.NewServer()
	if err := server.Register(c); err != nil {
		return err
	}
	server.ServeConn(pipe{lifeline{os.Stdin}, os.Stdout})
	return end()
}

// Ready answers when the process can be used.
func (c *Child) Ready(int, *int) error { return nil }

// Do carries out an operation.
func (c *Child) Do(op Op, a *Answer) error {
	*a = op.Do(context.Background(), c.ledger)
	return nil
}

// Pay makes a call through the brake.
func (c *Child) Pay(p Payment, r *Result) error {
	*r = c.agent.pay(p)
	return nil
}

// A pipe is two ends as one connection.
type pipe struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipe) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// A lifeline ends the process with the pipe, whatever it does.
type lifeline struct{ io.ReadCloser }

func (l lifeline) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		os.Exit(0)
	}
	return n, err
}

// A process is a running [Child].
type process struct {
	cmd    *exec.Cmd
	rpc    *rpc.Client
	stderr bytes.Buffer
}

// spawn starts a process, which may need several attempts: one that has a brake asks its ledger whether it is fit, and
// goes when a fault hits that.
func spawn(s Setup) (p *process, err error) {
	for range 10 {
		if p, err = begin(s); err == nil {
			return p, nil
		}
	}
	return nil, err
}

func begin(s Setup) (*process, error) {
	config, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self)}
	// The race detector would have each process sleep for a second before it exits.
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(config), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.rpc = rpc.NewClient(pipe{out, in})
	if err := p.rpc.Call("Child.Ready", 0, new(int)); err != nil {
		p.kill()
		return nil, fmt.Errorf("a process did not start: %w: %s", err, p.stderr.String())
	}
	return p, nil
}

// Do has the process carry out op. Of what a process that was killed did nobody knows.
func (p *process) Do(op Op) Answer {
	var a Answer
	if err := p.rpc.Call("Child.Do", op, &a); err != nil {
		return Answer{Verdict: Unknown, Err: err.Error()}
	}
	return a
}

// Pay has the process make a call through the brake.
func (p *process) Pay(pay Payment) Result {
	var r Result
	if err := p.rpc.Call("Child.Pay", pay, &r); err != nil {
		return Result{Err: err.Error()}
	}
	return r
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.rpc.Close()
}

// A mortal is a process that is killed after every so many operations, whatever it is doing, and started again.
type mortal struct {
	setup Setup
	seed  uint64
	every int

	dying  sync.WaitGroup
	mu     sync.Mutex
	now    *process
	ops    int
	deaths int
	told   int
	err    error // that it could not be started again
}

func (m *mortal) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now, m.err = spawn(m.setup)
	return m.err
}

// Do has the process carry out op, and may be its death.
func (m *mortal) Do(op Op) Answer {
	p := m.take()
	if p == nil {
		return Answer{Verdict: Unknown, Err: "no process"}
	}
	return p.Do(op)
}

// Pay has the process make a call through the brake, and may be its death.
func (m *mortal) Pay(pay Payment) Result {
	p := m.take()
	if p == nil {
		return Result{Err: "no process"}
	}
	return p.Pay(pay)
}

// died is how often it has died since this was last asked, and whether it could not be started again.
func (m *mortal) died() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.deaths - m.told
	m.told = m.deaths
	return int64(n), m.err
}

// take returns the process that lives, and arranges for its death when its time has come: up to some milliseconds
// later, so that it falls before, into or after what the process does then.
func (m *mortal) take() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops++
	if p := m.now; m.ops%m.every == 0 && p != nil {
		wait := time.Duration(rand.New(rand.NewPCG(m.seed, uint64(m.ops))).Int64N(int64(3 * time.Millisecond)))
		m.dying.Go(func() { m.die(p, wait) })
	}
	return m.now
}

// die kills p and puts another in its place. Who asks meanwhile waits for that.
func (m *mortal) die(p *process, wait time.Duration) {
	time.Sleep(wait)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != p {
		return
	}
	p.kill()
	m.deaths++
	m.now, m.err = spawn(m.setup)
}

// end ends it for good.
func (m *mortal) end() {
	m.dying.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != nil {
		m.now.kill()
	}
}
