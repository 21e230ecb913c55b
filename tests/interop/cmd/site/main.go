// Command site starts a Choria site, and the service that AAA_BIN or AAASVC_BIN names, and leaves them
// running until it is interrupted, to try things by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/choria-io/aaa/tests/interop/site"
)

func main() {
	mode := flag.String("mode", string(site.V2), "v1 (certificates) or v2 (organization issuer)")
	authorizer := flag.String("authorizer", "actionlist", "actionlist or opa")
	dir := flag.String("dir", "", "an empty directory for keys, configurations and logs")
	flag.Parse()

	err := run(site.Mode(*mode), *authorizer, *dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(mode site.Mode, authorizer string, dir string) error {
	if dir == "" {
		return errors.New("say where with --dir")
	}

	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}

	err = os.MkdirAll(dir, 0o700)
	if err != nil {
		return err
	}

	logrus.SetOutput(io.Discard)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	s, err := site.Start(context.Background(), mode, dir)
	if err != nil {
		return err
	}

	program, err := site.FindProgram()
	if err != nil {
		return errors.Join(err, s.Close())
	}

	service, err := s.StartService(ctx, program, site.ServiceOptions{Name: "aaa", Authorizer: authorizer})
	if err != nil {
		return errors.Join(err, s.Close())
	}

	client, err := s.NewClient("client", site.ClientOptions{Service: service})
	if err != nil {
		return errors.Join(err, service.Stop(), s.Close())
	}

	fmt.Printf("login    %s\nsign     %s\nadmin    http://%s\nclient   %s\nlogs     %s\n",
		service.LoginURL(), service.SignURL(), service.AdminAddress, client.ConfigFile(), filepath.Join(dir, "logs"))
	for user, password := range site.Passwords {
		fmt.Printf("user     %s, password %s\n", user, password)
	}

	<-ctx.Done()

	return errors.Join(service.Stop(), s.Close())
}
