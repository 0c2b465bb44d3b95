package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// longestLine is more than any record takes.
const longestLine = 1 << 20

// Read reads the records that a [JSON] sink has written, in their order. A line that is no record, such as one that was
// cut when the machine failed, is an error that names its number; the reading goes on with the next. A reader that fails
// ends it, with an error. Nothing is taken out that stands there twice: see [Record.ID].
//
//	for r, err := range audit.Read(file) {
func Read(from io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		lines := bufio.NewReader(from)
		for n := 1; ; n++ {
			line, end := readLine(lines)
			if line = bytes.TrimSpace(line); len(line) > 0 {
				r, err := decode(line)
				if err != nil {
					err = fmt.Errorf("audit: line %d: %w", n, err)
				}
				if !yield(r, err) {
					return
				}
			}
			switch {
			case errors.Is(end, io.EOF):
				return
			case end != nil:
				yield(Record{}, fmt.Errorf("audit: reading line %d: %w", n, end))
				return
			}
		}
	}
}

// readLine reads up to the next newline, and keeps one byte more than the longest line at most.
func readLine(from *bufio.Reader) (line []byte, end error) {
	for {
		part, err := from.ReadSlice('\n')
		line = append(line, part[:min(len(part), longestLine+1-len(line))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// decode reads one record. Fields that it does not know are of a later minor form of the schema.
func decode(line []byte) (r Record, err error) {
	if len(line) > longestLine {
		return Record{}, fmt.Errorf("it is longer than %d bytes", longestLine)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, fmt.Errorf("it is no record: %w", err)
	}
	if r.Version != 1 {
		return Record{}, fmt.Errorf("it is no record of version 1: version %d", r.Version)
	}
	if r.Chain != nil {
		exact, err := encode(r)
		r.Chain.rewritten = err != nil || !bytes.Equal(bytes.TrimSuffix(exact, []byte{'\n'}), line)
	}
	return r, nil
}
