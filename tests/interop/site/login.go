package site

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/choria-io/go-choria/choria"
)

// Login logs in the way the stock client's login command does, step by step and with its errors, and keeps the token.
func (c *Client) Login(ctx context.Context, user string, password string) error {
	request, err := c.LoginRequest(user, password)
	if err != nil {
		return err
	}

	body, err := json.Marshal(request)
	if err != nil {
		return err
	}

	response, answer, err := c.PostLogin(ctx, body)
	if err != nil {
		return err
	}

	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("invalid response code %d: %s", response.StatusCode, answer)
	}

	// the stock client reads strings only: a number, list or object in the answer ends the login here
	members := map[string]string{}
	err = json.Unmarshal(answer, &members)
	if err != nil {
		return err
	}

	switch {
	case members["error"] != "":
		return errors.New(members["error"])
	case members["token"] == "":
		return errors.New("no token received")
	}

	return os.WriteFile(c.TokenFile, []byte(members["token"]), 0o600)
}

// LoginRequest makes a new key pair where the library looks for it, and with it what a login sends.
func (c *Client) LoginRequest(user string, password string) (map[string]string, error) {
	seed, err := c.fw.SignerSeedFile()
	if err != nil {
		return nil, err
	}
	if seed != c.SeedFile {
		return nil, fmt.Errorf("the library keeps the seed in %s, not in %s", seed, c.SeedFile)
	}

	public, private, err := choria.Ed25519KeyPairToFile(seed)
	if err != nil {
		return nil, err
	}

	now := strconv.FormatInt(time.Now().Unix(), 10)
	signature, err := choria.Ed25519Sign(private, []byte(now+":"+user+":"+password))
	if err != nil {
		return nil, err
	}

	return map[string]string{
		"username":   user,
		"password":   password,
		"public_key": hex.EncodeToString(public),
		"timestamp":  now,
		"signature":  hex.EncodeToString(signature),
	}, nil
}

// PostLogin sends a login body with the library's TLS settings and returns the answer as it came.
func (c *Client) PostLogin(ctx context.Context, body []byte) (*http.Response, []byte, error) {
	tlsConfig, err := c.fw.ClientTLSConfig()
	if err != nil {
		return nil, nil, err
	}

	// the stock client makes a connection for each login
	transport := &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}

	return post(ctx, &http.Client{Transport: transport}, c.fw.Configuration().Choria.AAAServiceLoginURLs[0], body)
}

// post sends a JSON body and reads the whole answer.
func post(ctx context.Context, client *http.Client, url string, body []byte) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Content-Type", "application/json")

	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()

	answer, err := io.ReadAll(response.Body)

	return response, answer, err
}
