package secretfile

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode    os.FileMode
		refused bool
	}{
		{0o600, false},
		{0o400, false},
		{0o700, false},
		{0o640, true},
		{0o604, true},
		{0o644, true},
		{0o666, true},
		{0o620, true},
		{0o602, true},
		{0o610, true},
	} {
		if err := os.Chmod(name, test.mode); err != nil {
			t.Fatal(err)
		}
		secret, err := Read(name)
		switch {
		case runtime.GOOS == "windows" || !test.refused:
			if err != nil || string(secret) != "sesame" {
				t.Errorf("mode %#o: got %q, %v", test.mode, secret, err)
			}
		case err == nil || !strings.Contains(err.Error(), "chmod 600 "+name) || secret != nil:
			t.Errorf("mode %#o: got %q, %v", test.mode, secret, err)
		}
	}
	if _, err := Read(name + "-missing"); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(name, make([]byte, most+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(name); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: %v", err)
	}
}
