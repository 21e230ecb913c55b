package site

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
)

// settings is one Choria configuration file.
type settings map[string]any

// write saves the settings as key = value lines.
func (s settings) write(path string) error {
	var out strings.Builder

	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&out, "%s = %v\n", key, s[key])
	}

	return os.WriteFile(path, []byte(out.String()), 0o600)
}

// freePort asks the kernel for a TCP port that nobody uses on loopback.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()

	return listener.Addr().(*net.TCPAddr).Port, nil
}
