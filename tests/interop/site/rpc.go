package site

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/choria-io/go-choria/client/choria_utilclient"
	core "github.com/choria-io/go-choria/client/client"
	"github.com/choria-io/go-choria/client/rpcutilclient"
	"github.com/choria-io/go-choria/filter"
	"github.com/choria-io/go-choria/inter"
	"github.com/choria-io/go-choria/protocol"
	rpc "github.com/choria-io/go-choria/providers/agent/mcorpc/client"
	"github.com/choria-io/go-choria/providers/agent/mcorpc/ddl/agent"
)

// Request is one action asked of the site's node.
type Request struct {
	Agent  string
	Action string
	Data   map[string]any
	// Facts, Classes and Identities are the filter, each entry as typed on the command line.
	Facts      []string
	Classes    []string
	Identities []string
}

// String names the request as an action list would, with its filter.
func (r Request) String() string {
	return fmt.Sprintf("%s.%s%s%s%s", r.Agent, r.Action, bracketed("F", r.Facts), bracketed("C", r.Classes), bracketed("I", r.Identities))
}

func bracketed(kind string, entries []string) string {
	if len(entries) == 0 {
		return ""
	}

	return fmt.Sprintf(" -%s %v", kind, entries)
}

// Reply is what the node answered.
type Reply struct {
	Sender string
	// Status is the RPC status code: 0 done, 1 aborted, which is also "not authorized".
	Status  int
	Message string
	Data    json.RawMessage
}

// Outcome is a request that was published, and its replies.
type Outcome struct {
	RequestID string
	Replies   []Reply
}

func (r Request) filter() (*protocol.Filter, error) {
	parts := []filter.Filter{core.AgentFilter(r.Agent)}

	if len(r.Facts) > 0 {
		parts = append(parts, core.FactFilter(r.Facts...))
	}
	if len(r.Classes) > 0 {
		parts = append(parts, core.ClassFilter(r.Classes...))
	}
	if len(r.Identities) > 0 {
		parts = append(parts, core.IdentityFilter(r.Identities...))
	}

	return core.NewFilter(parts...)
}

func (r Request) ddl() (*agent.DDL, error) {
	switch r.Agent {
	case "rpcutil":
		return rpcutilclient.DDL()
	case "choria_util":
		return choria_utilclient.DDL()
	default:
		return nil, fmt.Errorf("no description of agent %s here", r.Agent)
	}
}

func (r Request) data() map[string]any {
	if r.Data == nil {
		return map[string]any{}
	}

	return r.Data
}

// Do has a request signed, publishes it to the node and waits for the reply, as `choria req` does.
func (c *Client) Do(ctx context.Context, request Request) (*Outcome, error) {
	ddl, err := request.ddl()
	if err != nil {
		return nil, err
	}

	filter, err := request.filter()
	if err != nil {
		return nil, err
	}

	client, err := rpc.New(c.fw, request.Agent, rpc.DDL(ddl))
	if err != nil {
		return nil, err
	}

	var mu sync.Mutex
	outcome := &Outcome{}
	collect := func(from protocol.Reply, reply *rpc.RPCReply) {
		mu.Lock()
		defer mu.Unlock()

		outcome.Replies = append(outcome.Replies, Reply{
			Sender:  from.SenderID(),
			Status:  int(reply.Statuscode),
			Message: reply.Statusmsg,
			Data:    reply.Data,
		})
	}

	result, err := client.Do(ctx, request.Action, request.data(),
		rpc.Targets([]string{NodeIdentity}), rpc.Filter(filter), rpc.ReplyHandler(collect), rpc.Workers(1))
	if err != nil {
		return nil, err
	}

	outcome.RequestID = result.Stats().RequestID

	return outcome, nil
}

// Ping runs rpcutil's ping with the client that is generated for that agent, and returns the names of the nodes that answered.
//
// Without targets it discovers first, so that two requests are signed.
func (c *Client) Ping(ctx context.Context, targets ...string) ([]string, error) {
	client, err := rpcutilclient.New(c.fw)
	if err != nil {
		return nil, err
	}

	result, err := client.OptionTargets(targets).Ping().Do(ctx)
	if err != nil {
		return nil, err
	}

	var answered []string
	result.EachOutput(func(output *rpcutilclient.PingOutput) {
		if output.ResultDetails().OK() {
			answered = append(answered, output.ResultDetails().Sender())
		}
	})

	return answered, nil
}

// Discover broadcasts for the nodes that have rpcutil and the given facts.
func (c *Client) Discover(ctx context.Context, facts ...string) ([]string, error) {
	client, err := rpcutilclient.New(c.fw)
	if err != nil {
		return nil, err
	}

	return client.OptionFactFilter(facts...).DiscoverNodes(ctx)
}

// RequestBytes is the unsigned request document that the library would send to a signer.
func (c *Client) RequestBytes(request Request) ([]byte, error) {
	payload, err := json.Marshal(rpc.RPCRequest{
		Agent:  request.Agent,
		Action: request.Action,
		Data:   mustJSON(request.data()),
	})
	if err != nil {
		return nil, err
	}

	message, err := c.fw.NewMessage(payload, request.Agent, c.fw.Configuration().MainCollective, inter.RequestMessageType, nil)
	if err != nil {
		return nil, err
	}

	filter, err := request.filter()
	if err != nil {
		return nil, err
	}
	message.SetFilter(filter)

	document, err := c.fw.NewRequestFromMessage(c.fw.RequestProtocol(), message)
	if err != nil {
		return nil, err
	}

	return document.JSON()
}

// mustJSON encodes what is known to encode.
func mustJSON(value any) json.RawMessage {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}

	return encoded
}
