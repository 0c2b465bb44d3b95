// Command mutants removes controls of the library one at a time, as controls.txt lists them, and runs the tests that have
// to notice. It fails if one does not. The working tree stays as it is: the go command is told to take another file in
// the place of the one that a control is removed from.
//
//	go run . -only REGEXP
//
// A control that no test notices could be lost in any change, and nobody would see it.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed controls.txt
var table string

func main() {
	only := flag.String("only", "", "a regular expression: which controls, by name, file, package or test")
	root := flag.String("root", "../..", "the root of the repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := removeAll(ctx, *root, *only, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

// atOnce is how many controls are removed at the same time, each in a program of its own.
const atOnce = 2

// removeAll prints a line for each control that only matches and a summary. It reports whether all were noticed.
func removeAll(ctx context.Context, root, only string, w io.Writer) (bool, error) {
	chapters, err := parse(table)
	if err != nil {
		return false, fmt.Errorf("controls.txt: %w", err)
	}
	list, err := matching(chapters, only)
	if err != nil {
		return false, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return false, err
	}
	tmp, err := os.MkdirTemp("", "keybrake-mutants")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(tmp)
	r := &runner{root: root, tmp: tmp, whole: map[string]*baseline{}}
	count := tell(ctx, r, list, w)
	fmt.Fprintf(w, "\n%d controls: %d noticed, %d by a timeout, %d survived, %d wrong\n", len(list), count[noticed], count[hung], count[survived], count[wrong])
	return count[noticed]+count[hung] == len(list), context.Cause(ctx)
}

// matching are the controls that only matches, those of one package together.
func matching(chapters []chapter, only string) ([]control, error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	var list []control
	for _, ch := range chapters {
		for _, c := range ch.controls {
			if slices.ContainsFunc([]string{c.name, c.file, c.pkg, c.test}, wanted.MatchString) {
				list = append(list, c)
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no control matches %q", only)
	}
	slices.SortStableFunc(list, func(a, b control) int { return strings.Compare(a.pkg, b.pkg) })
	return list, nil
}

// tell removes each control of list and prints what became of it.
func tell(ctx context.Context, r *runner, list []control, w io.Writer) map[verdict]int {
	count := map[verdict]int{}
	next := make(chan control)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for c := range next {
				began := time.Now()
				v, err := r.run(ctx, c)
				mu.Lock()
				count[v]++
				fmt.Fprintf(w, "%-8s %5.1fs  %s: %s (%s %s)\n", v, time.Since(began).Seconds(), c.file, c.name, c.pkg, c.test)
				if err != nil {
					fmt.Fprintf(w, "         controls.txt:%d: %s\n", c.line, strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n         "))
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range list {
		if ctx.Err() != nil {
			break
		}
		next <- c
	}
	close(next)
	workers.Wait()
	return count
}
