package main

import (
	"fmt"
	"strings"
)

// page is docs/controls.md.
func page(chapters []chapter) string {
	total := 0
	for _, ch := range chapters {
		total += len(ch.controls)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Controls, and the tests that notice when one is gone

%d controls of this library, in plain words, each with the file that it stands in and a test that fails without it. This is
not all that the library checks; it is what somebody has removed on purpose, to see that a test says so. `+"`make mutants`"+` does that
for each of them, one at a time, and fails if a test does not notice. `+"`make mutants ONLY=regexp`"+` does it for some.

The list is made from internal/mutants/controls.txt, where each removal stands as a change of the code.
`, total)
	for _, ch := range chapters {
		fmt.Fprintf(&b, "\n## %s\n\n| control | file | test |\n|---|---|---|\n", ch.heading)
		for _, c := range ch.controls {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", c.name, c.file, c.noticedBy())
		}
	}
	return b.String()
}

// noticedBy names the tests for people.
func (c control) noticedBy() string {
	plain := strings.NewReplacer("^", "", "$", "", "(", "", ")", "", "|", ", ")
	tests, parts, found := strings.Cut(c.test, "/")
	text := "`" + strings.ReplaceAll(plain.Replace(tests), ", ", "`, `") + "`"
	if found {
		text += " (" + plain.Replace(parts) + ")"
	}
	if c.pkg == "." {
		return text
	}
	return c.pkg + " " + text
}
