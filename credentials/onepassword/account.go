package onepassword

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"time"
)

// AccountOptions are the options of [ServiceAccount].
type AccountOptions struct {
	Program string // op's path. Default: the op on PATH
}

// ServiceAccount returns a source of items, by the reference that grants name them by, as a service account, through
// 1Password's program op of version 2.18.0 or later. 1Password's own Go SDK is not used: it needs cgo on Linux and macOS,
// four seconds and 165 MB.
//
// op runs for every field, without a shell, for ten seconds at most. The token stands in that process's environment alone,
// where the same user and root can read it, and so does nothing else of this process's environment but what says where the
// user's files are. It does no I/O; what is wrong with its arguments is the error of every Get. o may be nil.
func ServiceAccount(token string, items map[string]Item, o *AccountOptions) *Source {
	o = cmp.Or(o, &AccountOptions{})
	a := &account{program: cmp.Or(o.Program, "op"), token: func() string { return token }}
	return &Source{items: maps.Clone(items), read: a.read}
}

type account struct {
	program string
	token   func() string // a func, because a func prints as an address
}

func (a *account) read(ctx context.Context, it Item) ([]string, error) {
	if a.token() == "" {
		return nil, errors.New("onepassword: the token is empty")
	}
	var parts []string
	for _, field := range it.Fields {
		value, err := a.run(ctx, "op://"+it.Vault+"/"+it.Item+"/"+field)
		if err != nil {
			return nil, fmt.Errorf("the field %q: %w", field, err)
		}
		parts = append(parts, value)
	}
	return parts, nil
}

const (
	maxTime = 10 * time.Second // for one field
	maxOut  = 64 << 10         // bytes
)

// kept are the variables of our environment that op gets: where it finds its own files and the network.
var kept = []string{
	"HOME", "PATH", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HTTPS_PROXY", "NO_PROXY",
	"SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TEMP",
}

func (a *account) run(ctx context.Context, reference string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	// Without its cache, which would give an old value after a rotation, and leave a process behind.
	cmd := exec.CommandContext(ctx, a.program, "read", "--no-newline", "--cache=false", reference)
	cmd.Env = []string{"OP_SERVICE_ACCOUNT_TOKEN=" + a.token()}
	for _, name := range kept {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	var out, complaint capped
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("onepassword: op did not answer: %w", context.Cause(ctx))
	case out.over:
		return "", fmt.Errorf("onepassword: op wrote more than %d bytes", maxOut)
	case errors.As(err, &exit) && missing(complaint.buffer.String()):
		return "", fmt.Errorf("%w: there is no such vault, item or field that the service account may see", errMissing)
	case errors.As(err, &exit):
		return "", fmt.Errorf("onepassword: op failed (%s); run `op read` by hand to see why", exit.ProcessState)
	case err != nil:
		return "", fmt.Errorf("onepassword: op could not be run: %w", err)
	case out.buffer.Len() == 0:
		return "", fmt.Errorf("%w: the field is empty", errMissing)
	}
	return out.buffer.String(), nil
}

// missing reports whether op says that something is not there. Its text is not passed on. What is not recognised counts as
// an outage.
func missing(complaint string) bool {
	for _, said := range []string{"isn't an item", "isn't a vault", "does not have a field", "could not find item"} {
		if strings.Contains(complaint, said) {
			return true
		}
	}
	return false
}

// capped keeps up to maxOut bytes, and fails the write that goes beyond, which ends op. The buffer is a field, because it
// would offer io.Copy a way around Write.
type capped struct {
	buffer bytes.Buffer
	over   bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.buffer.Len()+len(p) > maxOut {
		c.over = true
		return 0, errors.New("too long")
	}
	return c.buffer.Write(p)
}
