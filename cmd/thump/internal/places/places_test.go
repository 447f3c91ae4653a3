package places

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// write makes the file, and names it in the environment.
func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Variable, file)
	return file
}

func TestRead(t *testing.T) {
	file := write(t, `
# The brokers that I use.
[places.staging]
url = "amqps://me@rabbit.staging.example.com/orders"
stream-url = "rabbitmq-stream+tls://rabbit.staging.example.com"
management-url = "https://other@manage.staging.example.com"
password-command = "pass show rabbitmq/staging"

[places.production]
url = "amqps://me@rabbit.example.com"
password-file = "production.password"

[places."a local one"]
url = "amqp://localhost"
`, 0o644)
	p, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Names(); !slices.Equal(got, []string{"a local one", "production", "staging"}) {
		t.Errorf("names %q", got)
	}
	production, err := p.Get("production")
	if err != nil || production.PasswordFile != filepath.Join(filepath.Dir(file), "production.password") {
		t.Errorf("%+v, %v", production, err)
	}
	staging, err := p.Get("staging")
	if err != nil || !staging.NeedsPassword() {
		t.Fatalf("%+v, %v", staging, err)
	}
	staging, err = staging.WithPassword("p@ss:w/rd")
	if err != nil || staging.URL != "amqps://me:p%40ss%3Aw%2Frd@rabbit.staging.example.com/orders" ||
		staging.StreamURL != "rabbitmq-stream+tls://me:p%40ss%3Aw%2Frd@rabbit.staging.example.com" ||
		staging.ManagementURL != "https://other:p%40ss%3Aw%2Frd@manage.staging.example.com" {
		t.Errorf("%+v, %v", staging, err)
	}
	local, err := p.Get("a local one")
	if err != nil || local.NeedsPassword() {
		t.Errorf("%+v, %v", local, err)
	}
	if _, err := local.WithPassword("x"); err == nil {
		t.Error("a password without a user is accepted")
	}
	if _, err := p.Get("nowhere"); err == nil || !strings.Contains(err.Error(), "a local one, production, staging") {
		t.Errorf("a place that is not there: %v", err)
	}
}

// TestManual reads the file in docs/configuration.md.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```toml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/configuration.md has no file")
	}
	write(t, text, 0o644)
	p, err := Read()
	if err != nil || !slices.Equal(p.Names(), []string{"laptop", "production", "staging"}) {
		t.Errorf("%q, %v", p.Names(), err)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"[places.a]\nurl = amqp://u:canary@h":       "line 2 is not as TOML has it",
		"[places.a]\nurl = \"\\zcanary\"":           "line 2",
		"[places.a]\nurl = 5":                       "not the text that it should be",
		"places = \"canary\"":                       "places is not a table",
		"[places.a]\nurls = \"amqp://u:canary@h\"":  `no setting "places.a.urls"`,
		"[place.a]\nurl = \"amqp://u:canary@h\"":    `no setting "place`,
		"[places.a]\nmanagement-url = \"http://h\"": "neither url nor stream-url",
		"[places.a]\nurl = \"amqp://u@h\"\npassword-file = \"x\"\npassword-command = \"canary\"": "can't go with",
		"[places.a]\nurl = \"amqp://u:canary@h\"\npassword-command = \"x\"":                      "says another",
	} {
		file := write(t, text, 0o600)
		_, err := Read()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestOpenToOthers refuses a file with a password that others may read.
func TestOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	const text = "[places.a]\nstream-url = \"rabbitmq-stream://u:canary@h\""
	write(t, text, 0o644)
	if _, err := Read(); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("readable by all: %v", err)
	}
	write(t, text, 0o600)
	if _, err := Read(); err != nil {
		t.Error(err)
	}
}

// TestWritableByOthers refuses a file that others may write, or that is another user's.
func TestWritableByOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	file := write(t, "[places.a]\nurl = \"amqp://u@h\"\npassword-command = \"x\"", 0o600)
	if err := os.Chmod(file, 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(); err == nil || !strings.Contains(err.Error(), "others than you may change it") {
		t.Errorf("writable by the group: %v", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("another user's: %v", err)
	}
}

func TestNoFile(t *testing.T) {
	t.Setenv(Variable, "")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	p, err := Read()
	if err != nil || len(p.Names()) != 0 {
		t.Errorf("%v, %v", p.Names(), err)
	}
	if _, err := p.Get("staging"); err == nil || !strings.Contains(err.Error(), p.File) {
		t.Errorf("%v", err)
	}
	t.Setenv(Variable, filepath.Join(t.TempDir(), "nowhere.toml"))
	if _, err := Read(); err == nil {
		t.Error("no error for a file that is named and not there")
	}
	t.Setenv(Variable, t.TempDir())
	if _, err := Read(); err == nil {
		t.Error("no error for a folder")
	}
}
