package respproxy

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A Command is one command as the client sent it.
type Command struct {
	Conn int      // the number of its connection, from 1
	Seq  int      // its number over all connections, from 1
	Name string   // in capitals
	Args [][]byte // all words, the name first; not to be changed
}

// Script reports whether the command runs a script.
func (c Command) Script() bool { return c.Name == "EVALSHA" || c.Name == "EVAL" }

// A Schedule says what becomes of a command. It is asked for one command at a time, in the order in which they
// arrive; the zero Fault is none. A command inside MULTI is a command: who wants a transaction hit as a whole
// hits its EXEC.
type Schedule func(Command) Fault

// A Kind is what goes wrong.
type Kind string

// The kinds. The words before and after are about the execution.
const (
	// DropBefore closes the connection; the command never reaches the server.
	DropBefore Kind = "drop before"
	// DropAfter closes the connection in place of the server's reply.
	DropAfter Kind = "drop after"
	// DelayRequest keeps the command back and then has it executed, even if the client has gone: it arrives late.
	DelayRequest Kind = "delay request"
	// DelayReply has the command executed and keeps the reply back, with all replies after it.
	DelayReply Kind = "delay reply"

	// The rest are the server's own errors, and the command is not executed.
	ReadOnly Kind = "READONLY"
	Loading  Kind = "LOADING"
	OOM      Kind = "OOM"
	NoScript Kind = "NOSCRIPT"
	Busy     Kind = "BUSY"
	Moved    Kind = "MOVED" // to the proxy itself
	Ask      Kind = "ASK"   // the same
)

// Kinds are all kinds.
var Kinds = []Kind{DropBefore, DropAfter, DelayRequest, DelayReply, ReadOnly, Loading, OOM, NoScript, Busy, Moved, Ask}

// A Fault is what becomes of one command.
type Fault struct {
	Kind  Kind
	Delay time.Duration   // of the delaying kinds
	Until <-chan struct{} // in place of Delay: until it is closed
}

// reply is the error that a kind answers in place of the server.
func (k Kind) reply(addr string) ([]byte, bool) {
	text := map[Kind]string{
		ReadOnly: "READONLY You can't write against a read only replica.",
		Loading:  "LOADING Redis is loading the dataset in memory",
		OOM:      "OOM command not allowed when used memory > 'maxmemory'.",
		NoScript: "NOSCRIPT No matching script. Please use EVAL.",
		Busy:     "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		Moved:    "MOVED 0 " + addr,
		Ask:      "ASK 0 " + addr,
	}[k]
	return []byte("-" + text + "\r\n"), text != ""
}

// Random hits one script in every so many, with one of kinds, and nothing else: what a connection says when it
// opens is not hit, since every client begins anew after that. Which of the scripts are hit and how depends on seed
// and their number alone. Delays are up to delay.
func Random(seed uint64, every int, delay time.Duration, kinds ...Kind) Schedule {
	random := rand.New(rand.NewPCG(seed, 0x7265_7370))
	kinds = slices.Clone(kinds)
	return func(c Command) Fault {
		if !c.Script() || len(kinds) == 0 {
			return Fault{}
		}
		// Drawn for every script, hit or not, so that the plan is the same however the draws are used.
		hit, kind, wait := random.IntN(every) == 0, kinds[random.IntN(len(kinds))], time.Duration(random.Int64N(int64(delay)+1))
		if !hit {
			return Fault{}
		}
		return Fault{Kind: kind, Delay: wait}
	}
}
