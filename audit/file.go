package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FileOptions are the options of a [FileSink].
type FileOptions struct {
	// MaxBytes is how long the file may get: before a record would make it longer, it is renamed and a new one begun. One
	// record may be longer. Zero: never.
	MaxBytes int64

	// Keep is how many renamed files stay; the oldest is removed when there are more. Zero: all. What is removed is gone: an
	// agent whose calls make many records (see docs/limits.md) can so make room for none of the older ones. Put files
	// away before, or leave it zero.
	Keep int

	// InsecureNoSync leaves it to the operating system when records reach the disk. They survive the end of the process, and
	// not that of the machine: then calls may have been forwarded that no record names.
	InsecureNoSync bool
}

// A FileSink writes records to a file as [JSON] does, for one process. A write returns when the record is on the disk
// (see InsecureNoSync); writes that come at the same time share the wait for it.
//
// The file belongs to its owner alone, mode 0600. One that others may read or write, or that is no regular file, is
// refused. A file that somebody moved or removed is left and another begun under the name. A file that was cut off in
// the middle of a line is gone on with on a line of its own.
type FileSink struct {
	path string
	o    FileOptions
	turn turn // of what follows

	file   *os.File // nil until the first write
	lines  *lines
	size   int64
	closed bool

	begun   atomic.Int64 // how many writes have begun
	done    atomic.Int64 // how many of them have ended, well or not
	flush   *sync.Cond   // says when a sync has ended; its lock is of what follows
	syncing bool         // one is under way
	synced  int64        // so many of the writes are on the disk, but for those that follow
	lost    [2]int64     // of the writes above the first, up to the second, there are some that no sync has brought to the disk
}

// File returns a sink that writes to the file of that path, which is opened, and made if there is none, at the first
// write or by Check.
func File(path string, o *FileOptions) *FileSink {
	return &FileSink{path: path, o: *cmp.Or(o, &FileOptions{}), turn: newTurn(), flush: sync.NewCond(new(sync.Mutex))}
}

// Check opens the file.
func (s *FileSink) Check(ctx context.Context) error {
	if s.path == "" || s.o.MaxBytes < 0 || s.o.Keep < 0 {
		return errors.New("audit: File needs a path, and MaxBytes and Keep that are not negative")
	}
	return s.turn.do(ctx, s.ready)
}

// Write appends r. After an error the record may be in the file, or a part of it; the next begins on a line of its own.
func (s *FileSink) Write(ctx context.Context, r Record) error {
	return s.WriteBatch(ctx, []Record{r})
}

// WriteBatch appends rs in one write, and one sync, for each file that they go to: after an error the first of them may be
// there, and a part of the next.
func (s *FileSink) WriteBatch(ctx context.Context, rs []Record) error {
	lines, err := encodeAll(rs)
	if err != nil || len(lines) == 0 {
		return err
	}
	var file *os.File
	var n int64
	err = s.turn.do(ctx, func() (err error) {
		for err == nil && len(lines) > 0 {
			lines, err = s.some(lines)
		}
		file, n = s.file, s.begun.Load()
		return err
	})
	if err != nil || s.o.InsecureNoSync {
		return err
	}
	return s.sync(file, n)
}

// some writes the first of lines, as many as the file may take, and returns the rest.
func (s *FileSink) some(lines [][]byte) (rest [][]byte, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	size, n := s.size, 0
	for ; n < len(lines) && (size == 0 || s.o.MaxBytes == 0 || size+int64(len(lines[n])) <= s.o.MaxBytes); n++ {
		size += int64(len(lines[n]))
	}
	if n == 0 {
		return lines, s.rotate()
	}
	s.size = size
	write := s.begun.Add(1)
	err = s.lines.put(bytes.Join(lines[:n], nil))
	s.done.Store(write)
	return lines[n:], err
}

// sync returns when the first n writes are on the disk, the last of which went to file. Who comes while another syncs waits
// for that and then, most likely, for one more that is for all who came meanwhile.
func (s *FileSink) sync(file *os.File, n int64) error {
	s.flush.L.Lock()
	defer s.flush.L.Unlock()
	for {
		switch {
		case s.lost[0] < n && n <= s.lost[1]:
			return errNotSynced
		case s.synced >= n:
			return nil
		case !s.syncing:
			return s.syncNow(file)
		}
		s.flush.Wait()
	}
}

var errNotSynced = errors.New("audit: the file that the record was written to could not be synced")

// syncNow brings to the disk what is written, for all that wait for it. When that fails, it has failed for all of them, and
// for what was written meanwhile: a system says once that it could not write, forgets what that was, and the sync after it
// succeeds. The lock is held, but not meanwhile.
func (s *FileSink) syncNow(file *os.File) error {
	done := s.done.Load()
	s.syncing = true
	s.flush.L.Unlock()
	err := file.Sync()
	s.flush.L.Lock()
	s.syncing = false
	s.flush.Broadcast()
	if err != nil {
		if s.lost[1] == 0 {
			s.lost[0] = s.synced
		}
		s.lost[1] = s.begun.Load()
		return fmt.Errorf("audit: %w", err)
	}
	s.synced = max(s.synced, done)
	return nil
}

// Close syncs and closes the file. Later writes fail.
func (s *FileSink) Close() error {
	return s.turn.do(context.Background(), func() error {
		s.closed = true
		return s.leave()
	})
}

var errFileClosed = errors.New("audit: the file is closed")

// ready opens the file if it is not open, or no longer what stands under its name.
func (s *FileSink) ready() error {
	if s.closed {
		return errFileClosed
	}
	if s.file != nil {
		now, err := os.Stat(s.path)
		was, errWas := s.file.Stat()
		if err == nil && errWas == nil && os.SameFile(now, was) {
			return nil
		}
		if err := s.leave(); err != nil {
			return err
		}
	}
	file, err := openOwn(s.path)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	size, torn, err := endOf(file)
	if err != nil {
		return fmt.Errorf("audit: %w", errors.Join(err, file.Close()))
	}
	s.file, s.size, s.lines = file, size, &lines{w: file, torn: torn}
	if s.o.InsecureNoSync {
		return nil
	}
	return syncFolder(s.path)
}

// syncFolder makes the name of a new file last. Not every system can sync a folder; then the file's own sync is all there is.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	_ = folder.Sync()
	return folder.Close()
}

// openOwn opens a file for appending that is its owner's alone.
func openOwn(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path) // opening a named pipe would wait for its reader
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		err = fmt.Errorf("%s is open to others than its owner (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	default:
		return file, nil
	}
	return nil, errors.Join(err, file.Close())
}

// endOf is how long a file is, and whether its last line has no end.
func endOf(file *os.File) (size int64, torn bool, err error) {
	if size, err = file.Seek(0, io.SeekEnd); err != nil || size == 0 {
		return size, false, err
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, size-1)
	return size, last[0] != '\n', err
}

// rotate renames the file and begins another.
func (s *FileSink) rotate() error {
	if err := s.leave(); err != nil {
		return err
	}
	to, err := s.aside(time.Now().UTC())
	if err == nil {
		err = os.Rename(s.path, to)
	}
	if err == nil {
		err = s.prune()
	}
	if err != nil {
		return fmt.Errorf("audit: rotating: %w", err)
	}
	return s.ready()
}

// asideForm makes names that sort by time.
const asideForm = "20060102T150405.000000000Z"

// aside is a name that no file has.
func (s *FileSink) aside(now time.Time) (string, error) {
	for range 1000 {
		to := s.path + "." + now.Format(asideForm)
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			return to, nil
		}
		now = now.Add(time.Nanosecond)
	}
	return "", fmt.Errorf("no free name for %s", s.path)
}

// prune removes the oldest renamed files.
func (s *FileSink) prune() error {
	if s.o.Keep == 0 {
		return nil
	}
	old, err := s.Rotated()
	for ; err == nil && len(old) > s.o.Keep; old = old[1:] {
		err = os.Remove(old[0])
	}
	return err
}

// Rotated are the paths of the renamed files that there are, the oldest first. With the file itself behind them they are all
// that was written and not removed.
func (s *FileSink) Rotated() ([]string, error) {
	names, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var old []string
	for _, n := range names {
		when, ok := strings.CutPrefix(n.Name(), filepath.Base(s.path)+".")
		if _, err := time.Parse(asideForm, when); ok && err == nil {
			old = append(old, filepath.Join(filepath.Dir(s.path), n.Name()))
		}
	}
	slices.Sort(old)
	return old, nil
}

// leave syncs and closes the file, if one is open. A sync that another write waits for has ended then.
func (s *FileSink) leave() error {
	if s.file == nil {
		return nil
	}
	s.flush.L.Lock()
	defer s.flush.L.Unlock()
	for s.syncing {
		s.flush.Wait()
	}
	var err error
	if !s.o.InsecureNoSync {
		err = s.syncNow(s.file)
	}
	if errClose := s.file.Close(); errClose != nil {
		err = errors.Join(err, fmt.Errorf("audit: %w", errClose))
	}
	s.file = nil
	return err
}
