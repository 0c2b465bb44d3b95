package credentials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Check asks s for every credential that it knows of, where it can tell, and names all that are missing, never
// a value. The brake calls it at construction, through its cache. A source of one's own takes part if it has a method
// Refs() []string, or Check(ctx) error; one without passes.
func Check(ctx context.Context, s Source) error {
	switch known := s.(type) {
	case nil:
		return errNoSource
	case interface{ Refs() []string }:
		return checkAll(ctx, s, known.Refs())
	case interface{ Check(context.Context) error }:
		return known.Check(ctx)
	}
	return nil
}

var errNoSource = errors.New("credentials: the source is nil")

// A SourceFunc is a function as a Source.
type SourceFunc func(ctx context.Context, ref string) (Credential, error)

// Get calls f.
func (f SourceFunc) Get(ctx context.Context, ref string) (Credential, error) { return f(ctx, ref) }

// Static returns a source of the given values by reference: for tests, and for values that the program has from
// elsewhere. It prints without them.
func Static(values map[string]string) Source {
	values = maps.Clone(values)
	return static{func() map[string]string { return values }}
}

// static holds its values behind a func for the same reason that Credential does.
type static struct {
	values func() map[string]string
}

func (s static) Get(_ context.Context, ref string) (Credential, error) {
	v := s.values()[ref]
	if v == "" {
		return Credential{}, &Fault{Ref: ref, Err: ErrUnknown}
	}
	return New(v), nil
}

// Refs are the references, in order.
func (s static) Refs() []string { return slices.Sorted(maps.Keys(s.values())) }

// Env is a source of environment variables: the name of the variable by reference. The whole value is one part;
// a vendor's adapter splits it.
type Env map[string]string

// Get reads the variable. An empty one is as good as none.
func (e Env) Get(_ context.Context, ref string) (Credential, error) {
	variable, ok := e[ref]
	if !ok {
		return Credential{}, &Fault{Ref: ref, Err: ErrUnknown}
	}
	v := os.Getenv(variable)
	if v == "" {
		return Credential{}, &Fault{ref, shown(variable) + " is not set or empty", ErrUnknown}
	}
	return New(v), nil
}

// Refs are the references, in order.
func (e Env) Refs() []string { return slices.Sorted(maps.Keys(e)) }

// shown is a variable's name for a message, unless it does not look like one: the commonest slip is to write
// the secret itself where its variable's name belongs.
func shown(variable string) string {
	if variable == "" || strings.Trim(variable, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "its environment variable (name not shown, because it is not of the form STRIPE_SECRET_KEY)"
	}
	return "the environment variable " + variable
}

// File is a source of files: the path by reference. One newline at the end is dropped, the rest is one part. A
// file that others than its owner may read or write is refused, as ssh refuses such a key (on Windows, where the
// mode does not tell, it is not looked at).
type File map[string]string

// Get reads the file.
func (f File) Get(_ context.Context, ref string) (Credential, error) {
	path, ok := f[ref]
	if !ok {
		return Credential{}, &Fault{Ref: ref, Err: ErrUnknown}
	}
	v, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errEmpty) {
		return Credential{}, &Fault{ref, err.Error(), ErrUnknown}
	}
	if err != nil {
		return Credential{}, &Fault{ref, err.Error(), err} // of the file system, or of the file's mode and length
	}
	return New(v), nil
}

// Refs are the references, in order.
func (f File) Refs() []string { return slices.Sorted(maps.Keys(f)) }

// maxFile is more than any credential; what is longer is the wrong file.
const maxFile = 64 << 10

var errEmpty = errors.New("the file is empty")

func readFile(path string) (string, error) {
	// Before opening, because opening a named pipe waits for its writer.
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if err := fit(path, info); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// Again, because it is this file that is read and the path may lead to another by now.
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if err := fit(path, info); err != nil {
		return "", err
	}
	return readValue(path, f)
}

func fit(path string, info os.FileInfo) error {
	mode := info.Mode()
	switch {
	case !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case mode.Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return fmt.Errorf("%s is open to others than its owner (mode %04o); run: chmod 600 %s", path, mode.Perm(), path)
	}
	return nil
}

func readValue(path string, r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("%s is longer than %d bytes; that is not a credential", path, maxFile)
	}
	v := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if v == "" {
		return "", fmt.Errorf("%s: %w", path, errEmpty)
	}
	return v, nil
}

// checkAll gets all references at once, for a store may take its time for each, and joins what failed, in order.
func checkAll(ctx context.Context, s Source, refs []string) error {
	errs := make([]error, len(refs))
	var wg sync.WaitGroup
	for i, ref := range refs {
		wg.Go(func() { _, errs[i] = s.Get(ctx, ref) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
