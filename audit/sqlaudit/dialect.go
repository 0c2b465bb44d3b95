package sqlaudit

import (
	"fmt"
	"strings"
)

// A Dialect is the SQL of a database. The zero Dialect is of none, and whatever is made with it fails.
type Dialect struct{ name string }

// The dialects.
var (
	PostgreSQL = Dialect{"postgres"} // 12 or later
	SQLite     = Dialect{"sqlite"}   // 3.38 or later
)

// String is the dialect's name.
func (d Dialect) String() string { return d.name }

// sql is a statement in the dialect. Its parameters stand in it as $1, $2.
func (d Dialect) sql(statement string) string {
	if d == SQLite {
		return strings.ReplaceAll(statement, "$", "?")
	}
	return statement
}

// rows is the source of rows that come as the first parameter, in the order of a JSON array of objects: whatever their
// number, a statement has one text, which a driver prepares once, and takes one round trip.
func (d Dialect) rows(cols []column, alias string) string {
	var list []string
	for _, c := range cols {
		if d == SQLite {
			list = append(list, fmt.Sprintf("value ->> '%s' AS %s", c.name, c.name))
		} else {
			list = append(list, c.name+" "+c.kind)
		}
	}
	if d == SQLite {
		return fmt.Sprintf("(SELECT %s FROM json_each($1)) AS %s", strings.Join(list, ", "), alias)
	}
	return fmt.Sprintf("json_to_recordset(CAST($1 AS text)::json) AS %s(%s)", alias, strings.Join(list, ", "))
}
