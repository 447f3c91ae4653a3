// Package places reads the user's file of brokers that have a name:
//
//	[places.staging]
//	url = "amqps://me@rabbit.staging.example.com/orders"
//	password-command = "pass show rabbitmq/staging"
package places

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/thumpmq/thump/internal/secretfile"
)

// Variable is the environment's variable that names the file.
const Variable = "THUMP_CONFIG"

// fileMax is how many bytes the file may have.
const fileMax = 1 << 20

// Place is a broker. At least one of URL and StreamURL is set, and at most one of the last
// two; with one of those, no URL holds a password.
type Place struct {
	URL             string `toml:"url"`            // as --url takes it
	StreamURL       string `toml:"stream-url"`     // as --stream-url
	ManagementURL   string `toml:"management-url"` // as --management-url
	PasswordFile    string `toml:"password-file"`  // a path that is absolute, or begins at the file's own folder
	PasswordCommand string `toml:"password-command"`
}

// Places is what the file says.
type Places struct {
	File   string // where it is, or would be; "" where this user has no home
	places map[string]Place
}

// Read reads the file that THUMP_CONFIG names, else thump/config.toml in the user's own
// folder for configurations. There is no need for the latter to be there. A file that others
// may write is refused, and so is one that holds a password and that others may read. No error repeats what the file says,
// but for the names of places and keys.
func Read() (Places, error) {
	p := Places{File: os.Getenv(Variable)}
	named := p.File != ""
	if !named {
		folder, err := os.UserConfigDir()
		if err != nil {
			return p, nil //nolint:nilerr // then there is no file
		}
		p.File = filepath.Join(folder, "thump", "config.toml")
	}
	text, err := readFile(p.File)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return p, nil
	}
	if err == nil {
		p.places, err = parse(text, filepath.Dir(p.File))
	}
	if err == nil && p.holdPassword() {
		_, err = secretfile.Read(p.File)
	}
	if err != nil {
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return p, err // which names the file
		}
		return p, fmt.Errorf("%s: %w", p.File, err)
	}
	return p, nil
}

func readFile(name string) (string, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("this is not a file")
	case info.Size() > fileMax:
		return "", fmt.Errorf("this has more than %d bytes", fileMax)
	}
	if err := checkOwner(info); err != nil {
		return "", err
	}
	text, err := os.ReadFile(name)
	return string(text), err
}

func parse(text, folder string) (map[string]Place, error) {
	var file struct {
		Places map[string]Place `toml:"places"`
	}
	meta, err := toml.Decode(text, &file)
	if err != nil {
		// The parser's own words may have a piece of a password in them.
		if at, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("line %d is not as TOML has it", at.Position.Line)
		}
		return nil, errors.New("a value is not the text that it should be")
	}
	if kind := meta.Type("places"); kind != "" && kind != "Hash" {
		return nil, errors.New("places is not a table: write [places.NAME]")
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("there is no setting %q; a place has url, stream-url, management-url, password-file and password-command", unknown[0].String())
	}
	for name, p := range file.Places {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("the place %q: %w", name, err)
		}
		if p.PasswordFile != "" {
			if p.PasswordFile, err = pathOf(p.PasswordFile, folder); err != nil {
				return nil, fmt.Errorf("the place %q: %w", name, err)
			}
			file.Places[name] = p
		}
	}
	return file.Places, nil
}

// pathOf is a path as the file gives it: "~" is the user's home.
func pathOf(path, folder string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		return filepath.Join(home, rest), err
	}
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Join(folder, path), nil
}

func (p *Place) urls() []*string { return []*string{&p.URL, &p.StreamURL, &p.ManagementURL} }

func (p *Place) check() error {
	switch {
	case p.URL == "" && p.StreamURL == "":
		return errors.New("it has neither url nor stream-url")
	case p.PasswordFile != "" && p.PasswordCommand != "":
		return errors.New("password-file can't go with password-command: each says the password")
	case p.NeedsPassword() && p.holdsPassword():
		return errors.New("a URL holds a password, and password-file or password-command says another")
	}
	return nil
}

// NeedsPassword reports whether the password is elsewhere.
func (p *Place) NeedsPassword() bool { return p.PasswordFile != "" || p.PasswordCommand != "" }

func (p *Place) holdsPassword() bool {
	return slices.ContainsFunc(p.urls(), func(u *string) bool {
		_, user, _ := split(*u)
		return strings.Contains(user, ":")
	})
}

func (p *Places) holdPassword() bool {
	for _, place := range p.places {
		if place.holdsPassword() {
			return true
		}
	}
	return false
}

// Names are those of the places, in order.
func (p *Places) Names() []string { return slices.Sorted(maps.Keys(p.places)) }

// Get is the place of that name. The error names those that there are.
func (p *Places) Get(name string) (Place, error) {
	if place, ok := p.places[name]; ok {
		return place, nil
	}
	if len(p.places) == 0 {
		return Place{}, fmt.Errorf("there is no place %q: %s would say where it is, and names none", name, p.File)
	}
	return Place{}, fmt.Errorf("there is no place %q in %s, which has %s", name, p.File, strings.Join(p.Names(), ", "))
}

// WithPassword puts a password into the URLs. Those without a user get that of the URL
// that has one.
func (p Place) WithPassword(password string) (Place, error) {
	user := ""
	for _, u := range p.urls() {
		if _, name, _ := split(*u); user == "" {
			user = name
		}
	}
	if user == "" {
		return p, errors.New("the password is no use without a user: write amqp://USER@HOST")
	}
	escaped := strings.TrimPrefix(url.UserPassword("", password).String(), ":")
	for _, u := range p.urls() {
		if *u == "" {
			continue
		}
		scheme, name, rest := split(*u)
		if name == "" {
			name = user
		}
		*u = scheme + name + ":" + escaped + "@" + rest
	}
	return p, nil
}

// split splits a URL into "scheme://", the user with or without a password, and the rest.
func split(text string) (scheme, user, rest string) {
	i := strings.Index(text, "://")
	if i < 0 {
		return "", "", text
	}
	scheme, rest = text[:i+len("://")], text[i+len("://"):]
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, rest = rest[:at], rest[at+1:]
	}
	return scheme, user, rest
}
