package site

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrNoProgram says that no service was named to test.
var ErrNoProgram = errors.New("not run: set AAA_BIN to the aaa program, or run make test")

// Program is the service under test.
type Program struct {
	Path string
	// Reference marks the service that ours replaces, against which the shared behaviours can be tried too.
	Reference bool
}

// FindProgram reads AAA_BIN, or AAASVC_BIN for the reference.
func FindProgram() (Program, error) {
	if path := os.Getenv("AAA_BIN"); path != "" {
		return Program{Path: path}, nil
	}

	if path := os.Getenv("AAASVC_BIN"); path != "" {
		return Program{Path: path, Reference: true}, nil
	}

	return Program{}, ErrNoProgram
}

// command is how the program is told to serve both login and signing with a configuration file.
func (p Program) command(config string) *exec.Cmd {
	if p.Reference {
		return exec.Command(p.Path, "run", "--config", config)
	}

	return exec.Command(p.Path, "serve", "--config", config, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
}

// Service is a running login and signing service.
type Service struct {
	// Program is what runs.
	Program Program
	// Address and AdminAddress are where it listens for clients, and for metrics and health.
	Address      string
	AdminAddress string
	// AuditFile is where its logfile auditor writes.
	AuditFile string

	cmd    *exec.Cmd
	exited chan struct{}
	state  error
}

// LoginURL is the login address as clients are configured with it.
func (s *Service) LoginURL() string { return s.url() + "/choria/v1/login" }

// SignURL is the signing address as clients are configured with it.
func (s *Service) SignURL() string { return s.url() + "/choria/v1/sign" }

func (s *Service) url() string {
	return "https://localhost:" + s.Address[strings.LastIndexByte(s.Address, ':')+1:]
}

// StartService starts a program with the configuration of this site and opts; it returns when the service says it is ready.
func (s *Site) StartService(ctx context.Context, program Program, opts ServiceOptions) (*Service, error) {
	service := &Service{Program: program, exited: make(chan struct{})}

	config, err := s.writeServiceConfig(service, opts)
	if err != nil {
		return nil, err
	}

	log, err := os.Create(filepath.Join(s.Dir, "logs", "service-"+opts.Name+".log"))
	if err != nil {
		return nil, err
	}

	service.cmd = program.command(config)
	stderr, err := service.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	service.cmd.Stdout = log

	err = service.cmd.Start()
	if err != nil {
		return nil, err
	}

	listening := make(chan struct{})
	go func() {
		service.follow(io.TeeReader(stderr, log), listening)
		service.state = service.cmd.Wait()
		log.Close()
		close(service.exited)
	}()

	err = service.awaitReady(ctx, listening)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s of %s: %w", opts.Name, program.Path, err), service.Stop())
	}

	return service, nil
}

// follow reads the service's log to its end and closes listening when all addresses are known.
func (s *Service) follow(log io.Reader, listening chan<- struct{}) {
	lines := bufio.NewReader(log)
	known := false

	for {
		line, err := lines.ReadString('\n')

		if !known && s.noteAddress(line) {
			known = true
			close(listening)
		}

		if err != nil {
			return
		}
	}
}

// noteAddress takes an address from a line of the log and reports whether both are known.
//
// Ours logs JSON with a message that has the word listening, and an address. The reference, whose ports
// come from its configuration, logs a line of text.
func (s *Service) noteAddress(line string) bool {
	if s.Program.Reference {
		return strings.Contains(line, "Serving choria central signing service at https://")
	}

	var entry logEntry
	if json.Unmarshal([]byte(line), &entry) != nil {
		return false
	}

	fields := entry.logFields
	if fields.Message == "" {
		fields = entry.Fields
	}

	switch {
	case fields.Address == "" || !strings.Contains(fields.Message, "listening"):
	case strings.Contains(line, "admin"):
		s.AdminAddress = fields.Address
	default:
		s.Address = fields.Address
	}

	return s.Address != "" && s.AdminAddress != ""
}

// logEntry is a log line whose fields lie at the top or in an object of their own.
type logEntry struct {
	logFields
	Fields logFields `json:"fields"`
}

type logFields struct {
	Message string `json:"message"`
	Address string `json:"address"`
}

func (s *Service) awaitReady(ctx context.Context, listening <-chan struct{}) error {
	select {
	case <-listening:
	case <-s.exited:
		return fmt.Errorf("it ended before it listened: %w", errors.Join(s.state, errors.New("see its log")))
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startDeadline):
		return fmt.Errorf("it did not listen within %v", startDeadline)
	}

	if s.Program.Reference {
		return nil
	}

	return s.awaitHealth(ctx)
}

// awaitHealth asks the admin port until it says ready: readiness is a state that only asking shows.
func (s *Service) awaitHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()

	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()

	for {
		status, body, err := s.Admin(ctx, "/healthz/ready")
		if err == nil && status == http.StatusOK {
			return nil
		}

		select {
		case <-tick.C:
		case <-s.exited:
			return fmt.Errorf("it ended before it was ready: %w", errors.Join(s.state, errors.New("see its log")))
		case <-ctx.Done():
			return fmt.Errorf("not ready: status %d, %q, %w", status, body, errors.Join(err, ctx.Err()))
		}
	}
}

// Admin asks the admin port for a path.
func (s *Service) Admin(ctx context.Context, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.AdminAddress+path, nil)
	if err != nil {
		return 0, "", err
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)

	return response.StatusCode, string(body), err
}

// Stop asks the service to end, and says so when it does not end well or in time.
func (s *Service) Stop() error {
	select {
	case <-s.exited:
		return s.state
	default:
	}

	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil {
		return err
	}

	select {
	case <-s.exited:
		return s.state
	case <-time.After(startDeadline):
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM", s.Program.Path, startDeadline), s.cmd.Process.Kill())
	}
}

// Kill ends the service at once, as a power cut would; that is a good end.
func (s *Service) Kill() error {
	err := s.cmd.Process.Kill()
	<-s.exited
	s.state = nil

	return err
}

// AuditRecord is a line of the service's logfile auditor in its default format.
type AuditRecord struct {
	Action  string `json:"action"`
	Auditor string `json:"auditor"`
	Caller  string `json:"caller"`
	Level   string `json:"level"`
	Message string `json:"msg"`
	Site    string `json:"site"`
	Time    string `json:"time"`
}

// Audit returns the records whose request document contains text, such as a request id.
func (s *Service) Audit(text string) ([]AuditRecord, error) {
	var found []AuditRecord

	err := eachJSONLine(s.AuditFile, func(line []byte) error {
		var record AuditRecord

		err := json.Unmarshal(line, &record)
		if err != nil {
			return err
		}

		if strings.Contains(record.Message, text) {
			found = append(found, record)
		}

		return nil
	})

	return found, err
}
