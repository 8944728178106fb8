// The tutorial's stack as a service: net/http, lib/pq, golang-jwt and AES-GCM.
//
//	peer [-map] [-fcgi SOCKET | -http ADDRESS]
//
// Without -map each request asks Postgres and opens the key. With it, opened
// keys are kept in a map under a lock.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt"
	_ "github.com/lib/pq"
)

type app struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	PublicKey string    `json:"public_key"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	secret    []byte
}

type server struct {
	find *sql.Stmt
	gcm  cipher.AEAD
	keep bool
	mu   sync.RWMutex
	apps map[string]*app
}

type answer struct {
	App    *app          `json:"app"`
	Claims jwt.MapClaims `json:"claims"`
}

func (s *server) open(sealed string) ([]byte, error) {
	raw, err := hex.DecodeString(sealed)
	if err != nil {
		return nil, err
	}
	n := s.gcm.NonceSize()
	if len(raw) < n {
		return nil, errors.New("sealed key is too short")
	}
	key, err := s.gcm.Open(nil, raw[:n], raw[n:], nil)
	if err != nil {
		return nil, err
	}
	return []byte(hex.EncodeToString(key)), nil
}

func (s *server) lookUp(publicKey string) (*app, error) {
	if s.keep {
		s.mu.RLock()
		a := s.apps[publicKey]
		s.mu.RUnlock()
		if a != nil {
			return a, nil
		}
	}
	var a app
	var sealed string
	err := s.find.QueryRow(publicKey).Scan(&a.ID, &a.Name, &a.PublicKey,
		&sealed, &a.CreatedAt, &a.UpdatedAt)
	if err != nil {
		return nil, err
	}
	if a.secret, err = s.open(sealed); err != nil {
		return nil, err
	}
	if s.keep {
		s.mu.Lock()
		s.apps[publicKey] = &a
		s.mu.Unlock()
	}
	return &a, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, err := s.lookUp(r.Header.Get("X-Public-Key"))
	if err != nil {
		http.Error(w, `{"error":"unauthorized"}`, http.StatusUnauthorized)
		return
	}
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(bearer, claims,
		func(t *jwt.Token) (interface{}, error) {
			if t.Method != jwt.SigningMethodHS256 {
				return nil, errors.New("algorithm")
			}
			return a.secret, nil
		})
	if err != nil {
		http.Error(w, `{"error":"unauthorized"}`, http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer{a, claims}); err != nil {
		log.Print(err)
	}
}

func newServer(keep bool) *server {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	// The default keeps two idle connections and makes a new one for
	// each request beyond.
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	find, err := db.Prepare("SELECT id, name, public_key," +
		" encrypted_secret_key, created_at, updated_at" +
		" FROM apps WHERE public_key = $1")
	if err != nil {
		log.Fatal(err)
	}
	key, err := hex.DecodeString(os.Getenv("MASTER_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		log.Fatal(err)
	}
	return &server{find: find, gcm: gcm, keep: keep,
		apps: map[string]*app{}}
}

func main() {
	keep := flag.Bool("map", false, "keep opened keys")
	socket := flag.String("fcgi", "", "FastCGI on this Unix socket")
	address := flag.String("http", "", "HTTP on this address")
	flag.Parse()
	s := newServer(*keep)
	if *socket == "" {
		log.Fatal(http.ListenAndServe(*address, s))
	}
	l, err := net.Listen("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.Chmod(*socket, 0o777); err != nil {
		log.Fatal(err)
	}
	log.Fatal(fcgi.Serve(l, s))
}
