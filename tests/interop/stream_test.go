package interop

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/choria-io/aaa/tests/interop/site"
)

// TestRecordsInTheBrokersStream has a service put on record in a stream of the real broker, as who it is on the Choria network.
func TestRecordsInTheBrokersStream(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		onlyOurs(t, "it knows no credentials for its stream")

		admin := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: w.actionlist})
		streams, err := admin.Streams(ctx)
		must(t, err)
		_, err = streams.AddStream(&nats.StreamConfig{Name: site.AuditStream, Subjects: []string{site.AuditTopic}, Discard: nats.DiscardNew})
		must(t, err)

		service, err := w.StartService(ctx, program, site.ServiceOptions{Name: "stream", Authorizer: "actionlist", InStream: true})
		must(t, err)
		t.Cleanup(func() { must(t, service.Stop()) })

		alice := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: service})
		outcome := done(ctx, t, alice, stats)
		record, err := streams.GetLastMsg(site.AuditStream, site.AuditTopic)
		must(t, err)
		if !strings.Contains(string(record.Data), outcome.RequestID) || !strings.Contains(string(record.Data), "io.choria.signer.v1.signature_audit") {
			t.Errorf("the last record in the stream is %s", record.Data)
		}
	})
}
