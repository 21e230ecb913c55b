package site

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/bcrypt"
)

// Passwords are what the users of a site type, by user name.
var Passwords = map[string]string{
	"alice": "everything, please",
	"bob":   "p\u00efng: only \"that\"",
	"carol": "with:a:fact",
}

// FactPolicy is carol's policy, which allows what names the fact that the site's node has.
//
// In V1, where only the signer evaluates it, it is written as published policies are. A node of this
// Choria, which evaluates it too in V2, compiles only the newer syntax with if.
func (s *Site) FactPolicy() string {
	syntax := ""
	if s.Mode == V2 {
		syntax = "if "
	}

	return `package io.choria.aaasvc

default allow = false

allow ` + syntax + `{
	input.agent == "rpcutil"
	requires_fact_filter("` + NodeFact + `")
}
`
}

// SiteName is the site setting of the services, which audit records and metrics carry.
const SiteName = "interop"

// AuditTopic is what services publish their records on that keep them in a stream of the broker, and AuditStream that stream.
const (
	AuditTopic  = "aaa.audit"
	AuditStream = "AAA_AUDIT"
)

// ServiceOptions say how one service of a site differs from the others.
type ServiceOptions struct {
	// Name is what its directory and log are called.
	Name string
	// Authorizer is actionlist or opa.
	Authorizer string
	// SitePolicies is a bundle that decides in the place of the policies in tokens.
	SitePolicies string
	// AllowBearerTokens makes it sign requests that carry no signature.
	AllowBearerTokens bool
	// ChoriaService makes it sign over the Choria network too.
	ChoriaService bool
	// InStream has it keep its records in a stream of the broker, instead of a file.
	InStream bool
	// NoLogin and NoSigner leave out one of the two halves, as sites that run them apart do.
	NoLogin  bool
	NoSigner bool
	// Login and Delegator take the place of the site's own chain issuer and delegator; V2 only.
	Login     *Identity
	Delegator *Identity
}

// writeServiceConfig writes the JSON document that sites run the reference with, and the files that it names.
func (s *Site) writeServiceConfig(service *Service, opts ServiceOptions) (string, error) {
	dir := filepath.Join(s.Dir, "services", opts.Name)

	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return "", err
	}

	service.AuditFile = filepath.Join(dir, "audit.log")

	choriaConfig := filepath.Join(dir, "choria.conf")
	err = s.serviceSettings().write(choriaConfig)
	if err != nil {
		return "", err
	}

	document := map[string]any{
		"choria_config":   choriaConfig,
		"loglevel":        "info",
		"site":            SiteName,
		"tls_certificate": s.TLS.Certificate,
		"tls_key":         s.TLS.Key,
	}

	if !opts.NoLogin {
		document["authenticator"] = "userlist"
		document["userlist_authenticator"], err = s.authenticator(dir, opts)
		if err != nil {
			return "", err
		}
	}

	if !opts.NoSigner {
		document["authorizer"] = opts.Authorizer
		if opts.SitePolicies != "" {
			document["opa_authorizer"] = map[string]any{"site_policies": opts.SitePolicies, "mode": "site-only"}
		}
		document["auditors"] = []string{"logfile"}
		document["logfile_auditor"] = map[string]any{"logfile": service.AuditFile}
		if opts.InStream {
			document["auditors"] = []string{"jetstream"}
			document["jetstream_auditor"] = map[string]any{
				"choria": true,
				"topic":  AuditTopic,
				"stream": map[string]any{"name": AuditStream, "create": false},
			}
		}
		document["signer"] = "basicjwt"
		document["basicjwt_signer"] = s.signer(opts)
	}

	err = s.addPorts(document, service)
	if err != nil {
		return "", err
	}

	encoded, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return "", err
	}

	config := filepath.Join(dir, "config.json")

	return config, os.WriteFile(config, encoded, 0o600)
}

// addPorts sets both ports: as numbers, or in V1 as strings, which sites have too but the reference does not read.
//
// Ours is told other addresses on its command line, so there these are only read.
func (s *Site) addPorts(document map[string]any, service *Service) error {
	for _, key := range []string{"port", "monitor_port"} {
		port, err := freePort()
		if err != nil {
			return err
		}

		document[key] = port
		if s.Mode == V1 && !service.Program.Reference {
			document[key] = strconv.Itoa(port)
		}

		if !service.Program.Reference {
			continue
		}

		address := "127.0.0.1:" + strconv.Itoa(port)
		if key == "port" {
			service.Address = address
		} else {
			service.AdminAddress = address
		}
	}

	return nil
}

// serviceSettings is the Choria configuration of the service, with which it would join the network.
func (s *Site) serviceSettings() settings {
	conf := settings{
		"identity":                       "aaa.example.net",
		"plugin.choria.middleware_hosts": s.middleware(),
	}

	switch s.Mode {
	case V1:
		conf.file(s.Privileged, s.Authority)
	case V2:
		conf.collective()
		conf.choria(s.ServiceHost)
	}

	return conf
}

// signer is the basicjwt_signer section. In V1 the two authorizers' services verify tokens with the two kinds of file that sites have.
func (s *Site) signer(opts ServiceOptions) map[string]any {
	section := map[string]any{
		"max_validity":        "2h",
		"allow_bearer_tokens": opts.AllowBearerTokens,
		"choria_service":      opts.ChoriaService,
	}

	switch {
	case s.Mode == V2:
		section["signing_certificate"] = s.Issuer.Public
		delegator := either(opts.Delegator, s.Delegator)
		section["signing_token"] = delegator.Token
		section["signing_seed"] = delegator.Seed
	case opts.Authorizer == "opa":
		section["signing_certificate"] = s.loginPublic
	default:
		section["signing_certificate"] = s.loginCert
	}

	return section
}

// authenticator is the userlist_authenticator section: in V1 with the users in it, in V2 with a users file.
func (s *Site) authenticator(dir string, opts ServiceOptions) (map[string]any, error) {
	users, err := s.users(dir)
	if err != nil {
		return nil, err
	}

	section := map[string]any{"validity": "1h"}

	if s.Mode == V1 {
		section["signing_key"] = s.loginPEM
		section["users"] = users

		return section, nil
	}

	file := filepath.Join(dir, "users.json")
	login := either(opts.Login, s.Login)
	section["signing_key"] = login.Seed
	section["signing_token"] = login.Token
	section["users_file"] = file

	return section, os.WriteFile(file, mustJSON(users), 0o600)
}

func (s *Site) users(dir string) ([]map[string]any, error) {
	alice := map[string]any{
		"acls":               []string{"*"},
		"properties":         map[string]string{"group": "admins"},
		"broker_permissions": map[string]any{"fleet_management": true, "streams_admin": true},
	}

	// in V2 bob's requests count for a node only when a delegator signed them
	bob := map[string]any{
		"acls":               []string{"rpcutil.ping"},
		"organization":       "choria",
		"broker_permissions": map[string]any{"signed_fleet_management": true},
	}

	carol := map[string]any{"broker_permissions": map[string]any{"fleet_management": true}}
	if s.Mode == V1 {
		policy := filepath.Join(dir, "carol.rego")
		carol["opa_policy_file"] = policy

		err := os.WriteFile(policy, []byte(s.FactPolicy()), 0o600)
		if err != nil {
			return nil, err
		}
	} else {
		carol["opa_policy"] = s.FactPolicy()
	}

	users := []map[string]any{alice, bob, carol}
	for i, name := range []string{"alice", "bob", "carol"} {
		// the cost that the reference's crypt command uses
		hash, err := bcrypt.GenerateFromPassword([]byte(Passwords[name]), 5)
		if err != nil {
			return nil, err
		}

		users[i]["username"] = name
		users[i]["password"] = string(hash)
	}

	return users, nil
}

// either is own, or else what the site has.
func either(own *Identity, has *Identity) *Identity {
	if own != nil {
		return own
	}

	return has
}
