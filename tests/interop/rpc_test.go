package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/choria-io/aaa/tests/interop/site"
)

// networkSigner is a service that signs over the network too; it is gone with the test.
func (w *world) networkSigner(ctx context.Context, t *testing.T, name string) *site.Service {
	t.Helper()

	service, err := w.StartService(ctx, program, site.ServiceOptions{Name: name, Authorizer: "actionlist", ChoriaService: true})
	must(t, err)
	t.Cleanup(func() { must(t, service.Stop()) })

	return service
}

// TestSigningOverNetwork has the stock client ask for signatures through the broker: an allowed request, and one that is refused.
func TestSigningOverNetwork(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		signer := w.networkSigner(ctx, t, "network")

		alice := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: signer, OverNetwork: true})
		answered, err := alice.Ping(ctx)
		must(t, err)
		if !slices.Equal(answered, []string{site.NodeIdentity}) {
			t.Errorf("%q answered", answered)
		}

		outcome := done(ctx, t, alice, stats)
		records, err := signer.Audit(outcome.RequestID)
		must(t, err)
		if len(records) != 1 || records[0].Action != "allow" || records[0].Caller != "up=alice" {
			t.Errorf("the service has on record %+v", records)
		}

		bob := w.loggedIn(ctx, t, "bob", site.ClientOptions{Service: signer, OverNetwork: true})
		message := refused(ctx, t, bob, stats)
		if !strings.Contains(message, "Request Denied") {
			t.Errorf("the stock client shows %q", message)
		}
		if !program.Reference && !strings.Contains(message, "Request Denied: up=bob may not rpcutil.daemon_stats") {
			t.Errorf("the stock client shows %q, which does not say who may not do what", message)
		}
	})
}

// TestSignersShareTheWork kills one of three signers while requests are signed: clients that it left without an answer ask again, and
// whatever was signed is on record, once.
func TestSignersShareTheWork(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		onlyOurs(t, "it is killed, and its own records are not what is tested")

		var signers []*site.Service
		for i := range 3 {
			signers = append(signers, w.networkSigner(ctx, t, fmt.Sprintf("network-%d", i)))
		}

		// clients side by side, so that the one that is killed has calls in hand
		var (
			mu     sync.Mutex
			signed []string
			wg     sync.WaitGroup
		)
		for range 4 {
			alice := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: signers[0], OverNetwork: true})
			wg.Go(func() {
				for range 6 {
					outcome, err := alice.Do(ctx, stats)
					if err != nil {
						// whoever was left without an answer asks again
						outcome, err = alice.Do(ctx, stats)
					}
					if err != nil {
						t.Error(err)
						return
					}

					mu.Lock()
					signed = append(signed, outcome.RequestID)
					if len(signed) == 6 {
						err = signers[2].Kill()
					}
					mu.Unlock()
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()

		took := map[int]int{}
		for _, id := range signed {
			onRecord := 0
			for i, signer := range signers {
				records, err := signer.Audit(id)
				must(t, err)
				onRecord += len(records)
				took[i] += len(records)
			}

			if onRecord != 1 {
				t.Errorf("request %s is on record %d times", id, onRecord)
			}
		}

		if took[0] == 0 || took[1] == 0 {
			t.Errorf("the signers that lived took %d and %d requests of %d", took[0], took[1], len(signed))
		}
	})
}
