// Command client calls Postern as an app and as one of its users:
//
//	go run . [USER]
//
// POSTERN_URL, POSTERN_PUBLIC_KEY and POSTERN_SECRET_KEY come from the
// environment.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

var client = http.Client{Timeout: 10 * time.Second}

// mint makes a token that is good for a minute.
//
// The HMAC key is the secret key's characters as they stand, not the bytes that
// its hex stands for: no hex.DecodeString here.
func mint(claims jwt.MapClaims) (string, error) {
	claims["exp"] = time.Now().Add(time.Minute).Unix()
	key := []byte(os.Getenv("POSTERN_SECRET_KEY"))
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
}

// appToken has no sub: it speaks for the app itself, and may do all.
func appToken() (string, error) {
	return mint(jwt.MapClaims{})
}

// userToken refuses an empty user. With jwt.RegisteredClaims, whose Subject is
// left out when it is empty, such a token would speak for the app.
func userToken(user string) (string, error) {
	if user == "" {
		return "", errors.New("a user token needs a user: the name is empty")
	}
	return mint(jwt.MapClaims{"sub": user})
}

type answer struct {
	App    struct{ Name string }
	Claims struct{ Sub string }
	City   string

	// Of a refusal, RFC 9457.
	Code, Detail string
}

func call(method, path, token, body string) (answer, error) {
	var a answer
	req, err := http.NewRequest(method, os.Getenv("POSTERN_URL")+path,
		bytes.NewBufferString(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("X-Public-Key", os.Getenv("POSTERN_PUBLIC_KEY"))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	err = json.NewDecoder(res.Body).Decode(&a)
	if res.StatusCode >= 300 && a.Code != "" {
		return a, fmt.Errorf("%d %s: %s", res.StatusCode, a.Code, a.Detail)
	}
	if res.StatusCode >= 300 {
		return a, fmt.Errorf("%d from the web server", res.StatusCode)
	}
	return a, err
}

func run(user string) error {
	asUser, err := userToken(user)
	if err != nil {
		return err
	}
	asApp, err := appToken()
	if err != nil {
		return err
	}
	who, err := call("GET", "/v1/whoami", asApp, "")
	if err != nil {
		return err
	}
	fmt.Printf("whoami, app token: %s\n", who.App.Name)
	who, err = call("GET", "/v1/whoami", asUser, "")
	if err != nil {
		return err
	}
	fmt.Printf("whoami, user token: %s, %s\n", who.App.Name, who.Claims.Sub)
	path := "/v1/users/" + url.PathEscape(user)
	if _, err = call("PUT", path, asApp, `{"city":"London"}`); err != nil {
		return err
	}
	doc, err := call("GET", "/v1/me", asUser, "")
	if err != nil {
		return err
	}
	fmt.Printf("stored and read: %s\n", doc.City)
	return nil
}

func main() {
	user := "ada"
	if len(os.Args) > 1 {
		user = os.Args[1]
	}
	if err := run(user); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
