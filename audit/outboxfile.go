package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/keybrake/keybrake-go/internal/filelock"
)

// An outboxFile has one record a line, or says that the first of them were taken: the CRC-32C of what follows in hex, a space,
// JSON. Lines are added at the end, each on the disk before the next is begun, so that no line but the last can be
// torn. What was taken goes when all is, or when it is much.
type outboxFile struct {
	path   string
	lock   io.Closer
	file   *os.File
	size   int64   // of whole lines
	starts []int64 // where each record that waits begins
	failed error   // what has to be put right before more is added
}

// An outboxLine is a record that waits, or how many of the first that wait were taken.
type outboxLine struct {
	Record *Record `json:"record,omitempty"`
	Taken  int     `json:"taken,omitempty"`
}

// openOutbox opens or makes the file, for this process alone.
func openOutbox(path string) (f *outboxFile, err error) {
	f = &outboxFile{path: path}
	if f.lock, err = filelock.Take(path + ".lock"); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *outboxFile) open() (err error) {
	if f.file, err = openOwn(f.path); err != nil {
		return err
	}
	if err := f.scan(); err != nil {
		return err
	}
	if err := f.cut(); err != nil {
		return err
	}
	return syncFolder(f.path)
}

// scan finds what waits. A last line that is not whole was not acknowledged; one with whole ones behind it is damage.
func (f *outboxFile) scan() error {
	in := bufio.NewReader(f.file)
	torn := 0 // the line that is not whole, from 1
	for n := 1; ; n++ {
		text, end := readLine(in)
		if end != nil && !errors.Is(end, io.EOF) {
			return end
		}
		if len(text) == 0 {
			return nil
		}
		line, err := unpack(text)
		switch {
		case errors.Is(err, errTorn):
			if torn == 0 {
				torn = n
			}
			continue
		case err != nil:
			return fmt.Errorf("line %d: %w", n, err)
		case torn > 0 || line.Taken > len(f.starts):
			return fmt.Errorf("line %d is damaged; move the file away, and give what it holds to the sink by hand", cmp.Or(torn, n))
		case line.Record != nil:
			f.starts = append(f.starts, f.size)
		}
		f.starts = f.starts[line.Taken:]
		f.size += int64(len(text))
	}
}

// cut drops what is behind the whole lines.
func (f *outboxFile) cut() error { return f.file.Truncate(f.size) }

// add writes rs behind the others. After an error the first of them may be there, whole and on the disk.
func (f *outboxFile) add(rs []Record) error {
	for _, r := range rs {
		start := f.size
		if err := f.addLine(outboxLine{Record: &r}); err != nil {
			return err
		}
		f.starts = append(f.starts, start)
	}
	return nil
}

func (f *outboxFile) addLine(l outboxLine) error {
	line, err := l.pack()
	if err != nil {
		return err
	}
	if f.failed != nil {
		if f.failed = errors.Join(f.cut(), syncFolder(f.path)); f.failed != nil {
			return f.failed
		}
	}
	_, err = f.file.Write(line)
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		f.failed = err
		return err
	}
	f.size += int64(len(line))
	return nil
}

// waits is how many records do.
func (f *outboxFile) waits() int { return len(f.starts) }

// oldest reads the first records that wait, so many at most.
func (f *outboxFile) oldest(most int) (rs []Record, err error) {
	read := 0
	err = f.each(func(r Record, line []byte) (more bool) {
		rs, read = append(rs, r), read+len(line)
		return len(rs) < most && read < longestLine
	})
	return rs, err
}

// each gives do the records that wait, with their lines, until it wants no more.
func (f *outboxFile) each(do func(r Record, line []byte) (more bool)) error {
	if len(f.starts) == 0 {
		return nil
	}
	in := bufio.NewReader(io.NewSectionReader(f.file, f.starts[0], f.size-f.starts[0]))
	for left, more := len(f.starts), true; left > 0 && more; {
		text, err := readLine(in)
		var line outboxLine
		if err == nil {
			line, err = unpack(text)
		}
		if err != nil {
			return fmt.Errorf("the file was changed: %w", err)
		}
		if line.Record != nil {
			left, more = left-1, do(*line.Record, text)
		}
	}
	return nil
}

// taken drops the first n of those that wait. When the file cannot say so, they are delivered again after a restart.
func (f *outboxFile) taken(n int) {
	const much = 1 << 20
	f.starts = f.starts[n:]
	switch {
	case len(f.starts) == 0:
		if err := f.file.Truncate(0); err == nil {
			f.size = 0
			return
		}
	case f.starts[0] > much && f.starts[0] > f.size/2 && f.rewrite() == nil:
		return
	}
	_ = f.addLine(outboxLine{Taken: n})
}

// rewrite replaces the file by one of what waits. When that fails, the old one is as good.
func (f *outboxFile) rewrite() error {
	temp := f.path + ".new"
	_ = os.Remove(temp)
	file, err := openOwn(temp)
	if err != nil {
		return err
	}
	next := outboxFile{path: f.path, lock: f.lock, file: file}
	out := bufio.NewWriter(file)
	err = f.each(func(_ Record, line []byte) bool {
		next.starts, next.size = append(next.starts, next.size), next.size+int64(len(line))
		_, _ = out.Write(line) // Flush tells
		return true
	})
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(temp, f.path)
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(temp))
	}
	_ = f.file.Close()
	next.failed = syncFolder(f.path)
	*f = next
	return nil
}

func (f *outboxFile) close() (err error) {
	if f.file != nil {
		err = f.file.Close()
	}
	return errors.Join(err, f.lock.Close())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (l outboxLine) pack() ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text)
	if len(line) > longestLine {
		return nil, fmt.Errorf("a record takes %d bytes, and may take %d", len(line), longestLine)
	}
	return line, nil
}

// errTorn says that a line is not whole.
var errTorn = errors.New("a line is not whole")

// unpack reads a line with its end.
func unpack(line []byte) (l outboxLine, err error) {
	sum, text, _ := bytes.Cut(line, []byte(" "))
	text, ended := bytes.CutSuffix(text, []byte("\n"))
	if !ended || fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) != string(sum) {
		return l, errTorn
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // they would be lost
	err = d.Decode(&l)
	if err == nil && (l.Record == nil) == (l.Taken <= 0) {
		err = errors.New("it is neither a record nor how many were taken")
	}
	if err != nil {
		return l, fmt.Errorf("it is of another version of this library: %w", err)
	}
	return l, nil
}
