package redisledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/keybrake/keybrake-go/internal/filelock"
)

// A journalFile has one record a line: its CRC-32C in hex, a space, JSON. Lines are only ever added; when most of them
// are finished, what is left is written to a new file that takes the old one's name.
//
// A process or machine that dies while it writes leaves a last line that is not whole. It was not acknowledged, so it
// is cut off. A line that is not whole with whole ones behind it is damage, and the file is refused.
type journalFile struct {
	path string
	lock io.Closer
	file *os.File
	size int64 // of whole lines
	dead int64 // how much of it is finished
	err  error // why nothing can be added any more
}

// A line is one record: an outcome that waits, or the number of one that is finished.
type line struct {
	Version int    `json:"v"`
	Entry   *entry `json:"entry,omitempty"`
	Done    int64  `json:"done,omitempty"`
}

// version of the lines that this file writes and reads.
const version = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (l line) encode() ([]byte, error) {
	l.Version = version
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("redisledger: journal: %w", err)
	}
	return []byte(checksummed(string(text))), nil
}

func checksummed(text string) string {
	return fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(text), castagnoli), text)
}

// errTorn says that a line is not whole.
var errTorn = errors.New("not whole")

// decodeLine reads a line without its end.
func decodeLine(text []byte) (line, error) {
	var l line
	if len(text) < 9 || fmt.Sprintf("%08x ", crc32.Checksum(text[9:], castagnoli)) != string(text[:9]) {
		return l, errTorn
	}
	d := json.NewDecoder(bytes.NewReader(text[9:]))
	d.DisallowUnknownFields()
	err := d.Decode(&l)
	if err == nil && l.Version != version {
		err = fmt.Errorf("version %d", l.Version)
	}
	if err != nil {
		return l, fmt.Errorf("of another version of Keybrake: %w", err)
	}
	return l, nil
}

// parse reads a file: the outcomes that wait, and how long its whole lines are.
func parse(text []byte) (left []*entry, size int64, err error) {
	at := map[int64]*entry{}
	var order []*entry
	torn := 0 // the line that is not whole, from 1
	for n, rest := 1, text; len(rest) > 0; n++ {
		one, after, ended := bytes.Cut(rest, []byte("\n"))
		l, err := decodeLine(one)
		switch {
		case !ended || errors.Is(err, errTorn):
			if torn == 0 {
				torn = n
			}
		case err != nil:
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		case torn > 0:
			return nil, 0, fmt.Errorf("line %d is damaged; move the file away, and resolve what it holds by hand", torn)
		default:
			size = int64(len(text) - len(after))
			if l.Entry != nil {
				l.Entry.bytes = int64(len(one) + 1)
				at[l.Entry.Number] = l.Entry
				order = append(order, l.Entry)
			}
			delete(at, l.Done)
		}
		rest = after
	}
	for _, e := range order {
		if at[e.Number] == e {
			left = append(left, e)
		}
	}
	return left, size, nil
}

// openJournal opens or makes the file, for this process alone, and returns what waits in it.
func openJournal(path string) (*journalFile, []*entry, error) {
	fail := func(err error) (*journalFile, []*entry, error) {
		return nil, nil, fmt.Errorf("redisledger: journal %s: %w", path, err)
	}
	lock, err := filelock.Take(path + ".lock")
	if err != nil {
		return fail(err)
	}
	f, left, err := readJournal(path)
	if err != nil {
		_ = lock.Close()
		return fail(err)
	}
	f.lock = lock
	return f, left, nil
}

func readJournal(path string) (*journalFile, []*entry, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(file)
	var left []*entry
	f := &journalFile{path: path, file: file}
	if err == nil {
		left, f.size, err = parse(text)
	}
	if err == nil {
		err = f.cut()
	}
	if err == nil {
		err = syncDir(path)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	f.dead = f.size
	for _, e := range left {
		f.dead -= e.bytes
	}
	return f, left, nil
}

// cut drops what is behind the whole lines.
func (f *journalFile) cut() error {
	if err := f.file.Truncate(f.size); err != nil {
		return err
	}
	_, err := f.file.Seek(f.size, io.SeekStart)
	return err
}

// add writes a line, to the disk when it has to last, and returns its length.
func (f *journalFile) add(l line, lasts bool) (int64, error) {
	if f.err != nil {
		return 0, f.err
	}
	text, err := l.encode()
	if err != nil {
		return 0, err
	}
	_, err = f.file.Write(text)
	if err == nil && lasts {
		err = f.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("redisledger: journal %s: %w", f.path, err)
		f.err = f.cut() // after a half line nothing may come
		return 0, err
	}
	f.size += int64(len(text))
	return int64(len(text)), nil
}

// finish notes that an outcome is finished, and says whether the file is worth a rewrite.
func (f *journalFile) finish(e *entry) bool {
	const worth = 1 << 20
	n, _ := f.add(line{Done: e.Number}, false)
	f.dead += n + e.bytes
	return f.dead > worth && f.dead > f.size/2
}

// rewrite replaces the file by one of these lines. When that fails, the old one is as good.
func (f *journalFile) rewrite(lines []line) {
	temp := f.path + ".new"
	next, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	g := journalFile{path: f.path, file: next}
	for _, l := range lines {
		if err == nil {
			_, err = g.add(l, false)
		}
	}
	if err == nil {
		err = next.Sync()
	}
	if err == nil {
		err = os.Rename(temp, f.path)
	}
	if err != nil {
		_ = next.Close()
		_ = os.Remove(temp)
		return
	}
	_ = f.file.Close()
	f.file, f.size, f.dead, f.err = next, g.size, 0, syncDir(f.path)
}

func (f *journalFile) close() error { return errors.Join(f.file.Close(), f.lock.Close()) }

// syncDir makes a file's name last.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
