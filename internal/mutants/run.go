package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A runner removes controls and looks whether their tests notice.
type runner struct {
	root string // of the repository
	tmp  string

	mu    sync.Mutex
	whole map[string]*baseline // by package
}

// A baseline is a package's tests with every control in its place.
type baseline struct {
	mu     sync.Mutex
	binary string
	passed map[string]error // by test
}

// A verdict is what became of one removed control.
type verdict string

const (
	noticed  verdict = "noticed"
	hung     verdict = "noticed by its timeout"
	survived verdict = "SURVIVED"
	wrong    verdict = "WRONG" // the table, or the tests without a removal
)

const (
	testTime  = 120 * time.Second
	buildTime = 10 * time.Minute
)

// run removes c and runs its tests. The working tree is not touched.
func (r *runner) run(ctx context.Context, c control) (verdict, error) {
	if err := r.holds(ctx, c); err != nil {
		return wrong, err
	}
	text, err := c.removed(r.root)
	if err != nil {
		return wrong, err
	}
	dir, err := os.MkdirTemp(r.tmp, "mutant")
	if err != nil {
		return wrong, err
	}
	defer os.RemoveAll(dir)
	overlay, err := overlaid(dir, filepath.Join(r.root, filepath.FromSlash(c.file)), text)
	if err != nil {
		return wrong, err
	}
	binary := filepath.Join(dir, "removed.test")
	if err := r.build(ctx, c.pkg, binary, "-overlay="+overlay); err != nil {
		return wrong, err
	}
	out, err := r.test(ctx, c, binary)
	switch {
	case ctx.Err() != nil:
		return wrong, context.Cause(ctx)
	case err == nil:
		return survived, nil
	case strings.Contains(out, "panic: test timed out"):
		return hung, nil
	case !regexp.MustCompile(`(?m)^\s*--- FAIL: |^panic: |^fatal error: |^FAIL`).MatchString(out):
		return wrong, fmt.Errorf("the tests did not run: %w\n%s", err, out)
	}
	return noticed, nil
}

// overlaid writes text, and the file that tells the go command to take it in place of file.
func overlaid(dir, file, text string) (overlay string, err error) {
	instead := filepath.Join(dir, "removed"+filepath.Ext(file))
	if err := os.WriteFile(instead, []byte(text), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: instead}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o600)
}

// holds reports why c's tests prove nothing, if they do not run or do not pass with the control in its place.
func (r *runner) holds(ctx context.Context, c control) error {
	r.mu.Lock()
	b := r.whole[c.pkg]
	if b == nil {
		b = &baseline{passed: map[string]error{}}
		r.whole[c.pkg] = b
	}
	r.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.binary == "" {
		binary := filepath.Join(r.tmp, strings.ReplaceAll(c.pkg, "/", "-")+"-whole.test")
		if err := r.build(ctx, c.pkg, binary); err != nil {
			return err
		}
		b.binary = binary
	}
	err, known := b.passed[c.test]
	if !known {
		var out string
		if out, err = r.test(ctx, c, b.binary); err != nil {
			err = fmt.Errorf("the tests fail with the control in its place: %w\n%s", err, out)
		} else if !ran(out, c.test) {
			err = fmt.Errorf("no test of %s is called %s", c.pkg, c.test)
		}
		b.passed[c.test] = err
	}
	return err
}

var passed = regexp.MustCompile(`(?m)^\s*--- PASS: (\S+)`)

// ran reports whether a test passed that a pattern names to its last part: where no subtest of it runs, go test runs
// what is above it and is content.
func ran(out, pattern string) bool {
	for _, m := range passed.FindAllStringSubmatch(out, -1) {
		if strings.Count(m[1], "/") >= strings.Count(pattern, "/") {
			return true
		}
	}
	return false
}

// build makes the test program of a package. It is not optimised and has no symbols for debuggers: both take long.
func (r *runner) build(ctx context.Context, pkg, binary string, flags ...string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	args := append([]string{"test", "-c", "-vet=off", "-gcflags=-N -l", "-ldflags=-s -w", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = filepath.Join(r.root, filepath.FromSlash(pkg))
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the tests of %s do not build: %w\n%s", pkg, err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%s has no tests", pkg)
	}
	return nil
}

// test runs c's tests in a program that build has made.
func (r *runner) test(ctx context.Context, c control, binary string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, testTime+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.failfast", "-test.timeout="+testTime.String(), "-test.run="+c.test)
	cmd.Dir = filepath.Join(r.root, filepath.FromSlash(c.pkg))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second // what a test has started and not ended holds its output open
	err := cmd.Run()
	return out.String(), err
}
