package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// session is a login, kept in a file that only its owner may read.
type session struct {
	URL       string    `json:"url"`
	User      string    `json:"user"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`

	// How pods are reached, where that is not port 443 with a public certificate.
	EdgePort int    `json:"edge_port,omitempty"`
	EdgeCA   string `json:"edge_ca,omitempty"`
}

// sessionFile is where the login is kept: PODCTL_CONFIG, or a folder of the
// user's configuration.
func (c *cli) sessionFile() (string, error) {
	if file := c.getenv("PODCTL_CONFIG"); file != "" {
		return file, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the login: %w; set PODCTL_CONFIG", err)
	}
	return filepath.Join(dir, "podctl", "login.json"), nil
}

// loadSession reads the login. It is zero if there is none.
func (c *cli) loadSession() (session, error) {
	var s session
	file, err := c.sessionFile()
	if err != nil {
		return s, err
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading the login: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("reading the login: %s: %w; run: podctl login", file, err)
	}
	return s, nil
}

// saveSession writes the login. The file is there whole or not at all, and never
// readable by others.
func (c *cli) saveSession(s session) error {
	file, err := c.sessionFile()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".login-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	return nil
}

// removeSession forgets the login.
func (c *cli) removeSession() error {
	file, err := c.sessionFile()
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the login: %w", err)
	}
	return nil
}
