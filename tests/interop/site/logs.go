package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
)

// newLogger makes a logger that writes all it gets to dir/logs/role.log.
func newLogger(dir string, role string) (*logrus.Logger, error) {
	logs := filepath.Join(dir, "logs")

	err := os.MkdirAll(logs, 0o700)
	if err != nil {
		return nil, err
	}

	file, err := os.OpenFile(filepath.Join(logs, role+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}

	logger := logrus.New()
	logger.SetOutput(file)
	logger.SetLevel(logrus.InfoLevel)

	return logger, nil
}

// awaited is a hook that closes seen when a message with the given text is logged.
type awaited struct {
	text string
	seen chan struct{}
	once sync.Once
}

func newAwaited(text string) *awaited { return &awaited{text: text, seen: make(chan struct{})} }

// Levels implements logrus.Hook.
func (a *awaited) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (a *awaited) Fire(entry *logrus.Entry) error {
	if strings.Contains(entry.Message, a.text) {
		a.once.Do(func() { close(a.seen) })
	}

	return nil
}

// LogTails returns the last lines that broker, node and services logged, for the report of a failed test.
func (s *Site) LogTails(lines int) string {
	files, _ := filepath.Glob(filepath.Join(s.Dir, "logs", "*.log"))

	var out strings.Builder

	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "clients-") {
			continue
		}

		all := strings.Split(strings.TrimSpace(mustRead(file)), "\n")
		if len(all) > lines {
			all = all[len(all)-lines:]
		}

		fmt.Fprintf(&out, "--- %s\n%s\n", filepath.Base(file), strings.Join(all, "\n"))
	}

	return out.String()
}
