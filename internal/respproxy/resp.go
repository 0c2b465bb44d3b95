package respproxy

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
)

// readCommand reads one request: its bytes as they came, and its words. A line that is no array is an inline
// command, as people type it.
func readCommand(r *bufio.Reader) (raw []byte, args [][]byte, err error) {
	line, err := readLine(r)
	if err != nil {
		return nil, nil, err
	}
	if line[0] != '*' {
		return line, bytes.Fields(line), nil
	}
	n, err := count(line)
	if err != nil {
		return nil, nil, err
	}
	raw = line
	for range n {
		if line, err = readLine(r); err != nil {
			return nil, nil, err
		}
		size, err := count(line)
		if err != nil || line[0] != '$' || size < 0 {
			return nil, nil, errSyntax
		}
		raw = append(raw, line...)
		if raw, err = readBlob(r, raw, size); err != nil {
			return nil, nil, err
		}
		args = append(args, raw[len(raw)-2-size:len(raw)-2:len(raw)-2])
	}
	return raw, args, nil
}

// readReply reads one reply of RESP2 or RESP3, with all that is in it, as it came.
func readReply(r *bufio.Reader) ([]byte, error) { return appendReply(r, nil) }

func appendReply(r *bufio.Reader, raw []byte) ([]byte, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	raw = append(raw, line...)
	values := 0
	switch line[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return raw, nil
	case '$', '=', '!': // a negative size is RESP2's null
		size, err := count(line)
		if err != nil || size < 0 {
			return raw, err
		}
		return readBlob(r, raw, size)
	case '*', '~', '>':
		values, err = count(line)
	case '%':
		values, err = count(line)
		values *= 2
	case '|': // attributes stand before the value that they are about
		values, err = count(line)
		values = 2*values + 1
	default:
		err = errSyntax
	}
	for i := 0; i < values && err == nil; i++ {
		raw, err = appendReply(r, raw)
	}
	return raw, err
}

// readLine reads up to and with the line's end.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, errSyntax
	}
	return line, nil
}

// count is the number after a line's first byte.
func count(line []byte) (int, error) {
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil {
		return 0, errSyntax
	}
	return n, nil
}

// readBlob reads so many bytes and the line's end after them.
func readBlob(r *bufio.Reader, raw []byte, size int) ([]byte, error) {
	start := len(raw)
	raw = append(raw, make([]byte, size+2)...)
	if _, err := io.ReadFull(r, raw[start:]); err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		return nil, errSyntax
	}
	return raw, nil
}
