package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A chapter is a part of the table, with a heading.
type chapter struct {
	heading  string
	controls []control
}

// A control is one thing that keeps a promise, and how it is removed.
type control struct {
	name string // what it is, in a user's words
	file string // below the repository's root, with slashes
	old  string // whole lines, which stand in the file exactly once
	new  string // what is there without the control
	pkg  string // the directory of the tests that notice, below the root
	test string // those tests, as go test's -run takes them
	line int    // in the table
}

// parse reads a table, strictly: whatever is not as the head of controls.txt says is an error.
func parse(text string) ([]chapter, error) {
	var chapters []chapter
	for i, block := range blocks(text) {
		lines := strings.Split(block.text, "\n")
		if heading, ok := strings.CutPrefix(lines[0], "== "); ok && len(lines) == 1 {
			chapters = append(chapters, chapter{heading: heading})
			continue
		}
		if strings.HasPrefix(lines[0], "# ") && i == 0 {
			continue
		}
		if len(chapters) == 0 {
			return nil, fmt.Errorf("line %d: a control before the first chapter", block.line)
		}
		c, err := parseControl(lines)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", block.line, err)
		}
		c.line = block.line
		last := &chapters[len(chapters)-1]
		last.controls = append(last.controls, c)
	}
	return chapters, unique(chapters)
}

type block struct {
	text string
	line int
}

// blocks are the texts between empty lines.
func blocks(text string) []block {
	var list []block
	line := 1
	for part := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n\n") {
		list = append(list, block{part, line})
		line += strings.Count(part, "\n") + 2
	}
	return list
}

func parseControl(lines []string) (control, error) {
	n := len(lines)
	if n < 4 {
		return control{}, errors.New("a block is a name, a file, a change and a test")
	}
	c := control{name: lines[0]}
	var ok [2]bool
	c.file, ok[0] = strings.CutPrefix(lines[1], "file ")
	tests, found := strings.CutPrefix(lines[n-1], "test ")
	c.pkg, c.test, ok[1] = strings.Cut(tests, " ")
	switch {
	case c.name == "" || strings.ContainsAny(c.name, "|\t") || strings.TrimSpace(c.name) != c.name || strings.ContainsAny(c.name[:1], "+-#= "):
		return c, fmt.Errorf("%q is not a name", c.name)
	case !ok[0] || !found || !ok[1]:
		return c, fmt.Errorf("%s: the second line is a file, and the last one a package and its test", c.name)
	case strings.Contains(c.test, " "):
		return c, fmt.Errorf("%s: the test has a space in it", c.name)
	}
	if _, err := regexp.Compile(c.test); err != nil || c.test == "" {
		return c, fmt.Errorf("%s: the test is not a regular expression: %v", c.name, err)
	}
	var before, after []string
	for _, l := range lines[2 : n-1] {
		switch {
		case strings.HasPrefix(l, "-"):
			before = append(before, l[1:])
		case strings.HasPrefix(l, "+"):
			after = append(after, l[1:])
		case strings.HasPrefix(l, " "):
			before, after = append(before, l[1:]), append(after, l[1:])
		default:
			return c, fmt.Errorf("%s: %q is no line of a change; one begins with a space, - or +", c.name, l)
		}
	}
	c.old, c.new = whole(before), whole(after)
	if c.old == "" || c.old == c.new {
		return c, fmt.Errorf("%s: its change changes nothing", c.name)
	}
	return c, nil
}

// whole is the text of lines, each with its end.
func whole(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// unique refuses two controls of one name, or of one change.
func unique(chapters []chapter) error {
	names, changes := map[string]bool{}, map[string]string{}
	for _, ch := range chapters {
		if len(ch.controls) == 0 {
			return fmt.Errorf("chapter %q is empty", ch.heading)
		}
		for _, c := range ch.controls {
			change := c.file + "\n" + c.old + "\n" + c.new
			if names[c.name] {
				return fmt.Errorf("line %d: two controls are called %q", c.line, c.name)
			}
			if changes[change] != "" {
				return fmt.Errorf("line %d: %q and %q are one change", c.line, changes[change], c.name)
			}
			names[c.name], changes[change] = true, c.name
		}
	}
	return nil
}

// removed is the text of c's file below root without the control.
func (c control) removed(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.file)))
	if err != nil {
		return "", err
	}
	// Whole lines: what stands within a line is not meant.
	from := "\n" + string(text)
	if n := strings.Count(from, "\n"+c.old); n != 1 {
		return "", fmt.Errorf("%s holds the lines %d times, not once:\n%s", c.file, n, c.old)
	}
	return strings.Replace(from, "\n"+c.old, "\n"+c.new, 1)[1:], nil
}
