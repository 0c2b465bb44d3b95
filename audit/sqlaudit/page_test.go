package sqlaudit_test

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/audit/sqlaudit"
)

// section is what docs/audit.md says of SQL.
func section(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/audit.md")
	must(t, err)
	_, text, found := strings.Cut(string(page), "\n## SQL\n")
	if !found {
		t.Fatal("docs/audit.md says nothing of SQL")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

func blocks(text, language string) (list []string) {
	for _, b := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		list = append(list, b[1])
	}
	return list
}

// bare is text without the spaces around its lines.
func bare(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

func TestPageShowsWhatCompiles(t *testing.T) {
	examples, err := os.ReadFile("example_test.go")
	must(t, err)
	list := blocks(section(t), "go")
	if len(list) != 3 {
		t.Errorf("it has %d blocks of Go", len(list))
	}
	for _, b := range list {
		if !strings.Contains(bare(string(examples)), bare(b)) {
			t.Errorf("it shows what does not compile:\n%s", b)
		}
	}
}

// With the rights that the page names a brake can write, and can neither change nor remove what it has written.
func TestTheRightsOfThePageAreEnough(t *testing.T) {
	w := newWorld(t, sqlaudit.PostgreSQL)
	role := fmt.Sprintf("brake_%d", os.Getpid())
	_, err := w.db.Exec("CREATE ROLE " + role + " LOGIN PASSWORD 'x'")
	must(t, err)
	for _, b := range blocks(section(t), "sql") {
		_, err := w.db.Exec(strings.ReplaceAll(b, "TO brake;", "TO "+role+";"))
		must(t, err)
	}
	address, err := url.Parse(w.dsn)
	must(t, err)
	address.User = url.UserPassword(role, "x")
	brake := &world{dialect: sqlaudit.PostgreSQL, dsn: address.String()}
	brake.open(t, "pgx")
	must(t, brake.Check(t.Context()))
	brake.write(t, wildStory(1).records(10)...)
	brake.write(t, wildStory(1).records(10)...)
	for _, statement := range []string{"UPDATE keybrake_records SET outcome = ''", "DELETE FROM keybrake_records", "TRUNCATE keybrake_records", "UPDATE keybrake_repeats SET line = ''", "DROP TABLE keybrake_records"} {
		if _, err := brake.db.Exec(statement); err == nil {
			t.Errorf("it may %s", statement)
		}
	}
	if _, err := brake.Delete(t.Context(), theDay.AddDate(1, 0, 0)); err == nil {
		t.Error("it may Delete")
	}
	must(t, w.VerifyDerived(t.Context()))
}

// What the page says of partitions.
func TestPostgreSQLHasNoPrimaryKeyOverPartitions(t *testing.T) {
	w := emptyWorld(t, sqlaudit.PostgreSQL)
	_, err := w.db.Exec("CREATE TABLE parts (id text PRIMARY KEY, time bigint) PARTITION BY RANGE (time)")
	if err == nil || !strings.Contains(err.Error(), "must include all partitioning columns") {
		t.Errorf("got %v", err)
	}
}

// Every table is on the page.
func TestPageNamesEveryTable(t *testing.T) {
	w := newWorld(t, sqlaudit.SQLite)
	text := section(t)
	for name := range strings.Lines(w.rows(t, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")) {
		if name = strings.Trim(name, "[]\"\n"); !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, name) {
			t.Errorf("nothing is said of %s", name)
		}
	}
}
