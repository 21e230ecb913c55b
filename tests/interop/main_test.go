// Package interop tests the services against the real Choria.
package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/choria-io/aaa/tests/interop/site"
)

// testDeadline bounds every single test: the longest real wait in one is the client library's own twelve seconds for replies.
const testDeadline = 60 * time.Second

// program is the service under test.
var program site.Program

// scratch is where all sites of this run lie.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error

	program, err = site.FindProgram()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		if os.Getenv("CI") != "" {
			return 1
		}

		return 0
	}

	scratch, err = os.MkdirTemp("", "interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}

	err = isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}

	code := m.Run()

	for _, world := range worlds {
		err = world.close()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}

	if code != 0 {
		fmt.Fprintf(os.Stderr, "keys, configurations and logs are kept in %s\n", scratch)
		return code
	}

	return boolToCode(os.RemoveAll(scratch) != nil)
}

func boolToCode(failed bool) int {
	if failed {
		return 1
	}

	return 0
}

// isolate gives Choria a home without configuration files and sends what it logs globally to a file.
func isolate() error {
	log, err := os.Create(filepath.Join(scratch, "choria.log"))
	if err != nil {
		return err
	}

	logrus.SetOutput(log)

	return errors.Join(os.Setenv("HOME", scratch), os.Setenv("USER", "interop"))
}

// world is a site and the services that tests share on it; it starts when the first test asks for it.
type world struct {
	*site.Site

	// actionlist and opa are services with these authorizers; bearer is as actionlist and signs without signatures.
	actionlist *site.Service
	opa        *site.Service
	bearer     *site.Service

	once sync.Once
	err  error
}

var worlds = map[site.Mode]*world{site.V1: {}, site.V2: {}}

func (w *world) start(mode site.Mode) error {
	ctx := context.Background()
	dir := filepath.Join(scratch, string(mode))

	err := os.Mkdir(dir, 0o700)
	if err != nil {
		return err
	}

	w.Site, err = site.Start(ctx, mode, dir)
	if err != nil {
		return err
	}

	w.actionlist, err = w.StartService(ctx, program, site.ServiceOptions{Name: "actionlist", Authorizer: "actionlist"})
	if err != nil {
		return err
	}

	w.opa, err = w.StartService(ctx, program, site.ServiceOptions{Name: "opa", Authorizer: "opa"})
	if err != nil {
		return err
	}

	w.bearer, err = w.StartService(ctx, program, site.ServiceOptions{Name: "bearer", Authorizer: "actionlist", AllowBearerTokens: true})

	return err
}

func (w *world) close() error {
	services := []*site.Service{w.actionlist, w.opa, w.bearer}
	errs := make([]error, len(services))

	// side by side: each may wait for the idle connections that stock clients leave open
	var wg sync.WaitGroup
	for i, service := range services {
		if service != nil {
			wg.Go(func() { errs[i] = service.Stop() })
		}
	}
	wg.Wait()

	if w.Site != nil {
		errs = append(errs, w.Site.Close())
	}

	return errors.Join(errs...)
}

// inBothModes runs a test once on a site of certificates and once on a site of tokens.
func inBothModes(t *testing.T, test func(context.Context, *testing.T, *world)) {
	t.Helper()

	for _, mode := range []site.Mode{site.V1, site.V2} {
		t.Run(string(mode), func(t *testing.T) { inMode(t, mode, test) })
	}
}

// inMode runs a test on the site of one mode, with a deadline, and shows what everybody logged when it fails.
func inMode(t *testing.T, mode site.Mode, test func(context.Context, *testing.T, *world)) {
	t.Helper()

	w := worlds[mode]
	w.once.Do(func() { w.err = w.start(mode) })

	if w.Site != nil {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("logs of the %s site:\n%s", mode, w.LogTails(12))
			}
		})
	}
	must(t, w.err)

	ctx, cancel := context.WithTimeout(t.Context(), testDeadline)
	defer cancel()

	test(ctx, t, w)
}

// onlyOurs skips what the reference does not do, and says why.
func onlyOurs(t *testing.T, why string) {
	t.Helper()

	if program.Reference {
		t.Skipf("the reference service does not do this: %s", why)
	}
}

// newClient is a client of a service without a token.
func (w *world) newClient(t *testing.T, name string, opts site.ClientOptions) *site.Client {
	t.Helper()

	client, err := w.NewClient(name, opts)
	must(t, err)

	return client
}

// loggedIn is a client of a service whose user logged in there with the right password.
func (w *world) loggedIn(ctx context.Context, t *testing.T, user string, opts site.ClientOptions) *site.Client {
	t.Helper()

	client := w.newClient(t, user, opts)
	must(t, client.Login(ctx, user, site.Passwords[user]))

	return client
}

// must ends a test at an error that is not its subject.
func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
