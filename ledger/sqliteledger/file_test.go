package sqliteledger_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// books is a closed ledger with some hundred reservations, in one file.
func books(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = fresh(t)
	l := opened(t, path, cost.Max)
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			if _, err := l.Reserve(ctx, pay(1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, l.Close())
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Fatalf("a closed ledger leaves %v", left)
	}
	content, err := os.ReadFile(path)
	must(t, err)
	return path, content
}

// query runs statements of another program on the file.
func query(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	for _, s := range statements {
		_, err := db.Exec(s)
		must(t, err)
	}
	must(t, db.Close())
}

func TestAFileThatIsNotFitIsRefusedWithWhatToDo(t *testing.T) {
	path, whole := books(t)
	write := func(content []byte) func(t *testing.T) {
		return func(t *testing.T) { must(t, os.WriteFile(path, content, 0o600)) }
	}
	page := func(n int, with byte) []byte {
		torn := bytes.Clone(whole)
		copy(torn[n*4096:], bytes.Repeat([]byte{with}, 4096))
		return torn
	}
	const restore = "restore it"
	cases := []struct {
		name, cure string
		damage     func(t *testing.T)
	}{
		{"empty", restore, write(nil)},
		{"one byte", restore, write([]byte("S"))},
		{"short of a page", restore, write(whole[:4095])},
		{"garbage", restore, write(bytes.Repeat([]byte("garbage "), 4096))},
		{"text", restore, write([]byte("not a database\n"))},
		{"the header alone", restore, write(whole[:100])},
		{"one page", restore, write(whole[:4096])},
		{"half", restore, write(whole[:len(whole)/2])},
		{"half a page is missing", restore, write(whole[:len(whole)-2048])},
		{"the last page is missing", restore, write(whole[:len(whole)-4096])},
		{"the first page is zeros", restore, write(page(0, 0))},
		{"an early page is zeros", restore, write(page(3, 0))},
		{"the last page is zeros", restore, write(page(len(whole)/4096-1, 0))},
		{"a page in the middle is torn", restore, write(page(len(whole)/8192, 0x5a))},
		{"a newer version", "update this program", func(t *testing.T) { query(t, path, "PRAGMA user_version = 2") }},
		{"no version", restore, func(t *testing.T) { query(t, path, "PRAGMA user_version = 0") }},
		{"a table is missing", "lacks table repeats", func(t *testing.T) { query(t, path, "DROP TABLE repeats") }},
		{"a column is missing", "lacks table amounts told", func(t *testing.T) { query(t, path, "ALTER TABLE amounts DROP COLUMN told") }},
		{"an index is missing", "lacks index holds_open", func(t *testing.T) { query(t, path, "DROP INDEX holds_open") }},
		{"another program's database", "a file of its own", func(t *testing.T) { query(t, path, "PRAGMA application_id = 1") }},
		{"another journal mode", "journal_mode = WAL", func(t *testing.T) { query(t, path, "PRAGMA journal_mode = DELETE") }},
		{"readable by others", "chmod 600", func(t *testing.T) { must(t, os.Chmod(path, 0o640)) }},
		{"a directory", "not a regular file", func(t *testing.T) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) }},
		{"only the log is left", restore, func(t *testing.T) { must(t, os.Rename(path, path+"-wal")) }},
		{"no such directory", "no such file", func(t *testing.T) { must(t, os.RemoveAll(filepath.Dir(path))) }},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			must(t, os.RemoveAll(filepath.Dir(path)))
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			must(t, os.WriteFile(path, whole, 0o600))
			tt.damage(t)
			before, _ := os.ReadFile(path) // an error: it is not a file
			for range 2 {                  // the second time is no better
				l := at(t, path, nil)
				err := l.Check(ctx)
				if err == nil || !strings.Contains(err.Error(), tt.cure) {
					t.Errorf("Check says %q, want what to do: %q", err, tt.cure)
				}
				h, err := l.Reserve(ctx, pay(1))
				if d := (*ledger.Denied)(nil); err == nil || errors.As(err, &d) {
					t.Errorf("Reserve: hold %q and error %v, want an error that is no verdict", h.ID, err)
				}
				must(t, l.Close())
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestTheFileIsThisUsersAlone(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	admit(t, l, pay(1))
	files, err := filepath.Glob(path + "*")
	must(t, err)
	if len(files) != 3 {
		t.Errorf("in use it has the files %v", files)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		must(t, err)
		if m := info.Mode().Perm(); m != 0o600 && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %#o", f, m)
		}
	}
}

// The name of the file may hold what means something in a URI.
func TestAnyPathNamesItsFile(t *testing.T) {
	for _, name := range []string{"a b.db", "100%25.db", "what?mode=memory", "#1.db", "ü.db", "file:x.db", ":memory:"} {
		path := filepath.Join(t.TempDir(), name)
		must(t, opened(t, path, 10).Close())
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestManyWhoMakeTheFileAtOnceShareOne(t *testing.T) {
	path := fresh(t)
	var wg sync.WaitGroup
	for i := range 8 {
		l := at(t, path, nil)
		wg.Go(func() {
			if err := l.Open(ctx, ledger.Key{Tenant: acme, ID: fmt.Sprint("k", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l := at(t, path, nil)
	for i := range 8 {
		if _, err := l.Balance(ctx, acme, fmt.Sprint("k", i), nil); err != nil {
			t.Errorf("k%d: %v", i, err)
		}
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("drafts are left: %v", left)
	}
}

func TestAFileThatGoesWhileInUseStopsTheLedger(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	admit(t, l, pay(1))
	other := filepath.Join(filepath.Dir(path), "other.db")
	for name, put := range map[string]func(){
		"gone":     func() {},
		"replaced": func() { must(t, os.WriteFile(path, []byte("x"), 0o600)) },
	} {
		must(t, os.Rename(path, other))
		put()
		_, reserve := l.Reserve(ctx, pay(1))
		_, balance := l.Balance(ctx, acme, "k", nil)
		for _, err := range []error{reserve, balance} {
			if err == nil || !strings.Contains(err.Error(), "put it back") {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(t, os.Rename(other, path))
		admit(t, l, pay(1))
	}
	stands(t, l, 0, 3)
}

// What another program has written into the file is refused, by an error that does not quote it, and nothing is
// changed.
func TestADamagedRowDeniesAndChangesNothing(t *testing.T) {
	for name, damage := range map[string]string{
		"a budget's operations": `UPDATE budgets SET operations = 'sk_live_1'`,
		"a budget's meter":      `UPDATE budgets SET meter = 'sk_live_1'`,
		"a budget's zone":       `UPDATE budgets SET zone = 'sk_live_1'`,
		"a hold's parts":        `UPDATE holds SET parts = 'sk_live_1'`,
		"an amount too large":   `UPDATE amounts SET spent = 9223372036854775807`,
	} {
		t.Run(name, func(t *testing.T) {
			path := fresh(t)
			l := opened(t, path, 100)
			h := admit(t, l, pay(10))
			query(t, path, damage)
			r := pay(1)
			if name == "a hold's parts" {
				r.ID = h.ID
			}
			before := dump(t, path)
			_, reserve := l.Reserve(ctx, r)
			var settle error
			if strings.HasPrefix(name, "a hold") || strings.HasPrefix(name, "an amount") {
				_, settle = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(cost.Max)})
				if settle == nil {
					t.Error("settled")
				}
			}
			if reserve == nil {
				t.Error("admitted")
			}
			for _, err := range []error{reserve, settle} {
				if err != nil && strings.Contains(err.Error(), "sk_live") {
					t.Errorf("the error quotes it: %v", err)
				}
			}
			if after := dump(t, path); before != after {
				t.Errorf("from %s\nto   %s", before, after)
			}
		})
	}
}

// dump is all that is counted.
func dump(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	var amounts, holds, keys string
	must(t, db.QueryRow(`SELECT (SELECT group_concat(concat_ws(' ', scope, budget, spent, held), '; ') FROM amounts),
		(SELECT group_concat(concat_ws(' ', id, phase, parts), '; ') FROM holds), (SELECT group_concat(concat_ws(' ', id, frozen), '; ') FROM keys)`).
		Scan(&amounts, &holds, &keys))
	return amounts + "\n" + holds + "\n" + keys
}

func TestNamesAreKeptToTheByteOrRefused(t *testing.T) {
	l := opened(t, fresh(t), 100)
	for i := range 4 {
		r := pay(1)
		switch i {
		case 0:
			r.Budgets[0].Name = "purse\xff"
		case 1:
			r.Memo = "\xfe"
		case 2:
			r.ID = "r\xc3"
		case 3:
			r.Budgets[0].Operations = []cost.Pattern{"v.*", "\xff"}
		}
		if h, err := l.Reserve(ctx, r); err == nil {
			t.Errorf("case %d was admitted: %+v", i, h)
		}
	}
	r := pay(1)
	r.Budgets[0].Name, r.Memo = "Geldbörse <&>\u2028\ufffd\x00\\", "a=1&b=<2>\r\n\x00"
	h := admit(t, l, r)
	found, err := l.Find(ctx, acme, h.ID)
	must(t, err)
	if found.Memo != r.Memo || found.Entries[0].Budget != r.Budgets[0].Name {
		t.Errorf("found %+v", found)
	}
	for _, run := range []string{"a\x00b", "'; --", `%`} {
		if _, err := l.Control(ctx, ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: run}); err != nil {
			t.Fatal(err)
		}
		r := pay(1)
		r.Controls = ledger.Names("k", "a", run, nil, "v")
		d := (*ledger.Denied)(nil)
		if _, err := l.Reserve(ctx, r); !errors.As(err, &d) {
			t.Errorf("run %q is paused: %v", run, err)
		}
		admit(t, l, pay(1))
	}
}
