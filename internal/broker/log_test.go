//go:build linux || darwin

package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPlantedLog: RabbitMQ's user has put something else in the place of its log. Nobody
// reads that, or waits for it.
func TestPlantedLog(t *testing.T) {
	for name, plant := range map[string]func(secret, log string) error{
		"a link":        os.Symlink,
		"a second name": os.Link,
		"a pipe":        func(_, log string) error { return syscall.Mkfifo(log, 0o644) },
		"a folder":      func(_, log string) error { return os.Mkdir(log, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			f := folders{t, t.TempDir()}
			f.must(newState().write(f.root))
			f.mkdir(logDirName, 0o700)
			secret := filepath.Join(f.root, "secret")
			f.must(os.WriteFile(secret, []byte("a secret of root's"), 0o600))
			f.must(plant(secret, LogFile(f.root)))
			checkSoon(t, func() {
				log, err := OpenLog(f.root)
				if err == nil {
					log.Close()
				}
				if err == nil || !strings.Contains(err.Error(), "no log") {
					t.Errorf("OpenLog returned %v, want that it is no log", err)
				}
				err = withLogTail(errors.New("no start"), f.root, time.Now())
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("a failed start says %q", err)
				}
			})
		})
	}
}

// TestPlantedOutput: in the folder of the log there are names that a start may want to write
// to. It neither writes to what they mean, nor waits for it.
func TestPlantedOutput(t *testing.T) {
	t.Parallel()
	f := folders{t, nodeDir(t)}
	f.mkdir(logDirName, 0o700)
	victim := filepath.Join(f.root, "victim")
	f.must(os.WriteFile(victim, []byte("precious"), 0o600))
	f.must(os.Link(victim, filepath.Join(f.root, logDirName, startupLogName)))
	f.must(syscall.Mkfifo(filepath.Join(f.root, logDirName, epmdLogName), 0o644))
	checkSoon(t, func() {
		_, err := Start(t.Context(), Options{Dir: f.root, ExtraConfig: "no.such.setting = 1"})
		if err == nil || !strings.Contains(err.Error(), "no.such.setting") {
			t.Errorf("Start returned %v, want what RabbitMQ said of no.such.setting", err)
		}
	})
	if text := readFiles(t, f.root, "victim"); string(text) != "precious" {
		t.Errorf("the file of another name is now %q", text)
	}
}

// checkSoon calls do, and fails if that blocks.
func checkSoon(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("it waits for ever")
	}
}
