package site

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/choria-io/go-choria/broker/network"
	"github.com/choria-io/go-choria/choria"
	"github.com/choria-io/go-choria/plugin"
	external "github.com/choria-io/go-choria/providers/agent/mcorpc/external"
	golang "github.com/choria-io/go-choria/providers/agent/mcorpc/golang"
	"github.com/choria-io/go-choria/server"
)

// registerPlugins adds the agent providers, which are global to a process; without them a node does not start.
var registerPlugins = sync.OnceFunc(func() {
	for name, provider := range map[string]plugin.Pluggable{
		"golangmco": golang.ChoriaPlugin(),
		"external":  external.ChoriaPlugin(),
	} {
		err := plugin.Register(name, provider)
		if err != nil {
			panic(fmt.Sprintf("registering %s: %v", name, err))
		}
	}
})

func (s *Site) brokerSettings() settings {
	conf := settings{
		"identity":                             "localhost",
		"plugin.choria.broker_network":         true,
		"plugin.choria.network.listen_address": "127.0.0.1",
		"plugin.choria.network.client_port":    s.brokerPort,
		"plugin.choria.network.stream.store":   filepath.Join(s.Dir, "streams"),
	}

	switch s.Mode {
	case V1:
		conf["plugin.choria.network.client_signer_cert"] = s.loginCert
		conf.file(s.brokerPair, s.Authority)

	case V2:
		conf.choria(s.brokerID)
		conf["plugin.security.choria.certificate"] = s.brokerPair.Certificate
		conf["plugin.security.choria.key"] = s.brokerPair.Key
		conf.trust(s.Issuer)
	}

	return conf
}

func (s *Site) nodeSettings() (settings, error) {
	facts, err := s.writeFile("facts.json", `{"country": "mt", "role": "web"}`)
	if err != nil {
		return nil, err
	}

	classes, err := s.writeFile("classes.txt", NodeClass+"\n")
	if err != nil {
		return nil, err
	}

	conf := settings{
		"identity":                       NodeIdentity,
		"plugin.choria.middleware_hosts": s.middleware(),
		"plugin.yaml":                    facts,
		"classesfile":                    classes,
		"registration_splay":             0,
		"rpcaudit":                       1,
		"plugin.rpcaudit.logfile":        s.nodeAuditFile(),
	}

	switch s.Mode {
	case V1:
		conf["rpcauthorization"] = 0
		conf.file(s.nodePair, s.Authority)

	case V2:
		conf["rpcauthorization"] = 1
		conf["rpcauthprovider"] = "aaasvc"
		conf.collective()
		conf.choria(s.nodeID)
		conf.trust(s.Issuer)
	}

	return conf, nil
}

// file chooses the security provider of certificates.
func (s settings) file(pair Pair, authority *Authority) {
	s["plugin.security.provider"] = "file"
	s["plugin.security.file.certificate"] = pair.Certificate
	s["plugin.security.file.key"] = pair.Key
	s["plugin.security.file.ca"] = authority.File
}

// choria chooses the security provider of tokens.
func (s settings) choria(id *Identity) {
	s["plugin.security.provider"] = "choria"
	s["plugin.security.choria.seed_file"] = id.Seed
	s["plugin.security.choria.token_file"] = id.Token
}

// trust names the organization issuer.
func (s settings) trust(issuer *Identity) {
	s["plugin.security.issuer.names"] = "choria"
	s["plugin.security.issuer.choria.public"] = issuer.PublicHex()
}

// collective puts a party into the collective that sites of tokens use.
func (s settings) collective() {
	s["collectives"] = "choria"
	s["main_collective"] = "choria"
}

// middleware is the address of the broker as Choria's configurations name it.
func (s *Site) middleware() string { return fmt.Sprintf("localhost:%d", s.brokerPort) }

func (s *Site) startBroker(ctx context.Context) error {
	cfg, log, err := s.load("broker", s.brokerSettings())
	if err != nil {
		return err
	}

	ready := newAwaited("Server is ready")
	log.AddHook(ready)

	fw, err := choria.NewWithConfig(cfg)
	if err != nil {
		return err
	}

	broker, err := network.NewServer(fw, fw.BuildInfo(), false)
	if err != nil {
		return err
	}

	s.wg.Add(1)
	go broker.Start(ctx, &s.wg)

	return await(ctx, "the broker", ready.seen, nil)
}

func (s *Site) startNode(ctx context.Context) error {
	conf, err := s.nodeSettings()
	if err != nil {
		return err
	}

	cfg, _, err := s.load("node", conf)
	if err != nil {
		return err
	}

	// before the framework is made, or the node's token is read as a client's
	cfg.InitiatedByServer = true

	fw, err := choria.NewWithConfig(cfg)
	if err != nil {
		return err
	}

	node, err := server.NewInstance(fw)
	if err != nil {
		return err
	}

	ready := make(chan struct{})
	node.RegisterReadyCallback(func(context.Context) { close(ready) })

	// Run returns when the node runs, and until then tries to connect for ever
	failed := make(chan error, 1)
	s.wg.Add(1)
	go func() {
		err := node.Run(ctx, &s.wg)
		if err != nil {
			failed <- err
		}
	}()

	return await(ctx, "the node", ready, failed)
}

// await waits for a part to come up, or to fail.
func await(ctx context.Context, what string, ready <-chan struct{}, failed <-chan error) error {
	select {
	case <-ready:
		return nil
	case err := <-failed:
		return fmt.Errorf("%s: %w", what, err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case <-time.After(startDeadline):
		return fmt.Errorf("%s was not ready within %v", what, startDeadline)
	}
}

// NodeRecord is a line of the node's own audit log.
type NodeRecord struct {
	RequestID string          `json:"request_id"`
	Caller    string          `json:"caller"`
	Sender    string          `json:"sender"`
	Agent     string          `json:"agent"`
	Action    string          `json:"action"`
	Data      json.RawMessage `json:"data"`
}

func (s *Site) nodeAuditFile() string { return filepath.Join(s.Dir, "server-audit.log") }

// NodeRecords returns what the node has on record for a request; the node writes before it acts, so a reply implies its record.
func (s *Site) NodeRecords(requestID string) ([]NodeRecord, error) {
	var found []NodeRecord

	err := eachJSONLine(s.nodeAuditFile(), func(line []byte) error {
		var record NodeRecord

		err := json.Unmarshal(line, &record)
		if err != nil {
			return err
		}

		if record.RequestID == requestID {
			found = append(found, record)
		}

		return nil
	})

	return found, err
}

// eachJSONLine calls handle with every line of a file; a file that does not exist has none.
func eachJSONLine(path string, handle func([]byte) error) error {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()

	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)

	for lines.Scan() {
		err := handle(lines.Bytes())
		if err != nil {
			return fmt.Errorf("%s: %q: %w", path, lines.Text(), err)
		}
	}

	return lines.Err()
}
