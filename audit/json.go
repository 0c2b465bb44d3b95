package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON returns a sink that writes each record to w as one line of JSON, in one call of w's Write, one record at
// a time. A line is ASCII control- and format-free: newlines, terminal escapes, bidirectional overrides and the
// like are \u escapes, bytes that are not UTF-8 are replaced, so no value can end its line, start another or
// show as something else. Write fails when w fails or takes less than the line.
//
// The record is as durable as w makes it: a file that is not synced can lose lines with the machine, though not
// with the process. The same record given twice is two lines of one id.
func JSON(w io.Writer) Sink { return &lines{w: w, turn: newTurn()} }

type lines struct {
	w    io.Writer
	turn turn
	torn bool // the last line was written in part
}

func (l *lines) Write(ctx context.Context, r Record) error {
	if err := l.Check(ctx); err != nil {
		return err
	}
	line, err := encode(r)
	if err != nil {
		return fmt.Errorf("audit: encoding a record: %w", err)
	}
	return l.turn.do(ctx, func() error { return l.put(line) })
}

// put writes one line or more. After a line that was torn it starts on a new one, so that one record lost is not two.
func (l *lines) put(line []byte) error {
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	l.torn = true // until proven otherwise: w may panic
	n, err := l.w.Write(line)
	if err == nil && n != len(line) {
		err = io.ErrShortWrite
	}
	l.torn = err != nil && n != 0
	if err != nil {
		return fmt.Errorf("audit: writing a record: %w", err)
	}
	return nil
}

// Check fails when there is no writer.
func (l *lines) Check(context.Context) error {
	if l.w == nil {
		return errors.New("audit: JSON has no writer")
	}
	return nil
}

// encodeAll are the lines of rs.
func encodeAll(rs []Record) (lines [][]byte, err error) {
	for _, r := range rs {
		line, err := encode(r)
		if err != nil {
			return nil, fmt.Errorf("audit: encoding a record: %w", err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func encode(r Record) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // "a < b" is to be read by people
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return append(escape(bytes.TrimSuffix(b.Bytes(), []byte{'\n'})), '\n'), nil
}

// escape writes what a terminal or an editor would act upon as \u escapes, and the mark of what was no text, too, as the
// encoder does: a record that was read is written as it stood. In a line of JSON such characters
// stand inside strings only, so that every one may be replaced.
func escape(line []byte) []byte {
	out := make([]byte, 0, len(line)+1)
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		if unicode.IsGraphic(r) && r != utf8.RuneError {
			out = append(out, line[:n]...)
		} else {
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
		line = line[n:]
	}
	return out
}
