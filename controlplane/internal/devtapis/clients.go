package devtapis

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// client is an OAuth2 client, as the authenticator shows it and as it is kept.
type client struct {
	ClientID       string `json:"client_id"`
	ClientKey      string `json:"client_key"`
	TenantID       string `json:"tenant_id"`
	Owner          string `json:"owner"`
	CallbackURL    string `json:"callback_url"`
	DisplayName    string `json:"display_name"`
	Description    string `json:"description"`
	Active         bool   `json:"active"`
	CreateTime     string `json:"create_time"` // naive UTC
	LastUpdateTime string `json:"last_update_time"`
}

// newClient is the body of a create request.
type newClient struct {
	ClientID    string `json:"client_id"`
	ClientKey   string `json:"client_key"`
	CallbackURL string `json:"callback_url"`
	DisplayName string `json:"display_name"`
	Description string `json:"description"`
}

// clientPatch is the body of an update request; nothing else may change.
type clientPatch struct {
	CallbackURL *string `json:"callback_url"`
	DisplayName *string `json:"display_name"`
}

// clientID leaves out the colon, which ends the id in HTTP Basic.
var clientID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

func (s *Server) listClients(r *http.Request) (any, error) {
	owner, err := s.clientOwner(r)
	if err != nil {
		return nil, err
	}
	return s.clients.list(s.tenantOf(r).ID, owner), nil
}

func (s *Server) createClient(r *http.Request) (any, error) {
	owner, err := s.clientOwner(r)
	if err != nil {
		return nil, err
	}
	var n newClient
	if err := decode(r, &n, true); err != nil {
		return nil, err
	}
	if n.ClientID == "" {
		n.ClientID = rand.Text()
	}
	if !clientID.MatchString(n.ClientID) {
		return nil, problemf(http.StatusBadRequest, "client_id must be 1 to 128 letters, digits, dots, dashes or underscores.")
	}
	if n.ClientKey == "" {
		n.ClientKey = rand.Text() + rand.Text()
	}
	now := s.timestamp()
	return s.clients.add(client{
		ClientID: n.ClientID, ClientKey: n.ClientKey,
		TenantID: s.tenantOf(r).ID, Owner: owner,
		CallbackURL: n.CallbackURL, DisplayName: n.DisplayName, Description: n.Description,
		Active: true, CreateTime: now, LastUpdateTime: now,
	})
}

func (s *Server) getClient(r *http.Request) (any, error) {
	return s.ownClient(r)
}

func (s *Server) updateClient(r *http.Request) (any, error) {
	c, err := s.ownClient(r)
	if err != nil {
		return nil, err
	}
	var p clientPatch
	if err := decode(r, &p, true); err != nil {
		return nil, err
	}
	if p.CallbackURL != nil {
		c.CallbackURL = *p.CallbackURL
	}
	if p.DisplayName != nil {
		c.DisplayName = *p.DisplayName
	}
	c.LastUpdateTime = s.timestamp()
	return c, s.clients.put(c)
}

func (s *Server) deleteClient(r *http.Request) (any, error) {
	c, err := s.ownClient(r)
	if err != nil {
		return nil, err
	}
	return "", s.clients.remove(c)
}

// ownClient returns the client that a request names. Those of others are not
// found.
func (s *Server) ownClient(r *http.Request) (client, error) {
	owner, err := s.clientOwner(r)
	if err != nil {
		return client{}, err
	}
	id := r.PathValue("client")
	c, ok := s.clients.get(s.tenantOf(r).ID, id)
	if !ok || c.Owner != owner {
		return client{}, problemf(http.StatusNotFound, "Client %s not found.", id)
	}
	return c, nil
}

func (s *Server) timestamp() string {
	return s.now().UTC().Format("2006-01-02T15:04:05.000000")
}

// clientStore keeps clients in memory and, with a path, in a file.
type clientStore struct {
	path string // "": memory only

	mu      sync.Mutex
	clients map[clientKey]client
}

type clientKey struct{ tenant, id string }

func (c client) key() clientKey { return clientKey{c.TenantID, c.ClientID} }

// openClients reads the clients that are kept in a folder.
func openClients(dir string) (*clientStore, error) {
	s := &clientStore{clients: make(map[clientKey]client)}
	if dir == "" {
		return s, nil
	}
	s.path = filepath.Join(dir, "clients.json")
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading clients: %w", err)
	}
	var list []client
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("reading clients from %s: %w", s.path, err)
	}
	for _, c := range list {
		s.clients[c.key()] = c
	}
	return s, nil
}

func (s *clientStore) get(tenantID, id string) (client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[clientKey{tenantID, id}]
	return c, ok
}

// list returns the clients of a user, by id.
func (s *clientStore) list(tenantID, owner string) []client {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []client{}
	for _, c := range s.clients {
		if c.TenantID == tenantID && c.Owner == owner {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b client) int { return strings.Compare(a.ClientID, b.ClientID) })
	return list
}

// add keeps a new client. Those who create one again look for this text.
func (s *clientStore) add(c client) (client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.clients[c.key()]; taken {
		return client{}, problemf(http.StatusBadRequest, "This change would violate uniqueness constraints: client_id %s is taken.", c.ClientID)
	}
	s.clients[c.key()] = c
	return c, s.save()
}

func (s *clientStore) put(c client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.key()] = c
	return s.save()
}

func (s *clientStore) remove(c client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c.key())
	return s.save()
}

// save writes all clients; s.mu is held.
func (s *clientStore) save() error {
	if s.path == "" {
		return nil
	}
	list := make([]client, 0, len(s.clients))
	for _, c := range s.clients {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b client) int {
		return strings.Compare(a.TenantID+" "+a.ClientID, b.TenantID+" "+b.ClientID)
	})
	b, err := json.MarshalIndent(list, "", "  ") //nolint:gosec // keeping the keys is what the file is for; only we may read it
	if err != nil {
		return fmt.Errorf("encoding clients: %w", err)
	}
	return writeFile(s.path, b)
}
