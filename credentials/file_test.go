package credentials_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/credentials"
)

func file(t *testing.T, name, data string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestFile(t *testing.T) {
	for data, want := range map[string]string{
		secret: secret, secret + "\n": secret, secret + "\r\n": secret, secret + "\n\n": secret + "\n", " " + secret + " \n": " " + secret + " ",
		strings.Repeat("x", 64<<10): strings.Repeat("x", 64<<10),
	} {
		if got := get(t, credentials.File{"a": file(t, "key", data, 0o600)}, "a"); got != want {
			t.Errorf("%q reads as %q", data, got)
		}
	}
	if got := get(t, credentials.File{"a": file(t, "key", secret, 0o400)}, "a"); got != secret {
		t.Errorf("got %q", got)
	}
}

func TestFileThroughASymlink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file(t, "key", secret, 0o600), link); err != nil {
		t.Skip(err)
	}
	if got := get(t, credentials.File{"a": link}, "a"); got != secret {
		t.Errorf("got %q", got)
	}
	if err := os.Chmod(link, 0o644); err != nil {
		t.Fatal(err)
	}
	if text, _ := refused(t, credentials.File{"a": link}, "a"); runtime.GOOS != "windows" && !strings.Contains(text, "chmod 600") {
		t.Errorf("got %s", text)
	}
}

func TestFileRefuses(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for name, tt := range map[string]struct {
		path, want string
		unknown    bool
	}{
		"no file":       {missing, "no such file", true},
		"an empty file": {file(t, "key", "", 0o600), "the file is empty", true},
		"a line end":    {file(t, "key", "\r\n", 0o600), "the file is empty", true},
		"a directory":   {dir, "is not a regular file", false},
		"a device":      {os.DevNull, "is not a regular file", false},
		"a long file":   {file(t, "key", strings.Repeat("T0P", 64<<10), 0o600), "is longer than 65536 bytes", false},
		"no path":       {"", "no such file", true},
	} {
		text, err := refused(t, credentials.File{"a": tt.path}, "a")
		if !strings.Contains(text, tt.want) || errors.Is(err, credentials.ErrUnknown) != tt.unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := refused(t, credentials.File{}, "a"); !errors.Is(err, credentials.ErrUnknown) || text != `credentials: unknown reference "a"` {
		t.Errorf("got %v", err)
	}
}

func TestFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes do not tell there")
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601, 0o440} {
		path := file(t, "key", secret, mode)
		text, err := refused(t, credentials.File{"a": path}, "a")
		if !strings.Contains(text, "run: chmod 600 "+path) || !strings.Contains(text, fmt.Sprintf("(mode %04o)", mode)) || errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%o: %v", mode, err)
		}
	}
}

func TestFileCheck(t *testing.T) {
	good, open := file(t, "good", secret, 0o600), file(t, "open", secret, 0o644)
	err := credentials.Check(t.Context(), credentials.File{"a": good, "b": open, "c": "/no/such/file"})
	if err == nil || strings.Contains(err.Error(), good) || !strings.Contains(err.Error(), open) || !strings.Contains(err.Error(), "/no/such/file") || leaks(err.Error()) {
		t.Errorf("got %v", err)
	}
	if err := credentials.Check(t.Context(), credentials.File{"a": good}); err != nil {
		t.Errorf("got %v", err)
	}
}
