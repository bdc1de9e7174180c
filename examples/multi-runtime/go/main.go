// Command notes keeps the notes of one customer, with a login of their own. It has never heard of tenants.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// app keeps the hash of its owner's token and the notes, one a line, in files of dir.
type app struct{ dir string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	server := &http.Server{
		Addr:              "127.0.0.1:" + os.Getenv("PORT"),
		Handler:           app{os.Getenv("DATA_DIR")}.routes(),
		ReadHeaderTimeout: 10 * time.Second,
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		ended <- server.Shutdown(bound)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}

func (a app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"}, nil)
	})
	mux.HandleFunc("POST /claim", a.claim)
	mux.HandleFunc("GET /notes", a.owned(func(*http.Request) (int, any, error) {
		text, err := a.read("notes")
		return http.StatusOK, append([]string{}, strings.Split(text, "\n")[:strings.Count(text, "\n")]...), err
	}))
	mux.HandleFunc("POST /notes", a.owned(a.add))
	mux.HandleFunc("GET /surroundings", a.owned(a.surroundings))
	mux.HandleFunc("GET /authorization", a.owned(func(r *http.Request) (int, any, error) {
		return http.StatusOK, r.Header.Get("Authorization"), nil
	}))
	return mux
}

// owned answers who has the owner's token with what handle gives, and others with 401.
func (a app) owned(handle func(*http.Request) (status int, data any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		want, err := a.read("owner")
		if err == nil && (scheme != "Bearer" || subtle.ConstantTimeCompare([]byte(want), []byte(digest(token))) == 0) {
			answer(w, http.StatusUnauthorized, map[string]string{"error": "who are you?"}, nil)
			return
		}
		var status int
		var data any
		if err == nil {
			status, data, err = handle(r)
		}
		answer(w, status, data, err)
	}
}

// claim makes the first to come the owner, who is told a token, once.
func (a app) claim(w http.ResponseWriter, _ *http.Request) {
	token := rand.Text()
	f, err := os.OpenFile(filepath.Join(a.dir, "owner"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		answer(w, http.StatusConflict, map[string]string{"error": "there is an owner already"}, nil)
		return
	}
	if err == nil {
		_, err = f.WriteString(digest(token))
		err = errors.Join(err, f.Close())
	}
	answer(w, http.StatusCreated, map[string]string{"token": token}, err)
}

func (a app) add(r *http.Request) (int, any, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, err
	}
	f, err := os.OpenFile(filepath.Join(a.dir, "notes"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, nil, err
	}
	_, err = f.Write(append(bytes.ReplaceAll(text, []byte("\n"), []byte(" ")), '\n'))
	return http.StatusCreated, map[string]bool{"ok": true}, errors.Join(err, f.Close())
}

// surroundings is what this process can see of others: customers, services, processes.
func (a app) surroundings(*http.Request) (int, any, error) {
	tenants, err1 := names(filepath.Join(a.dir, ".."), "[^.]*")
	services, err2 := names(filepath.Join(a.dir, "../.."), "[^.]*")
	processes, err3 := names("/proc", "[0-9]*")
	return http.StatusOK, map[string]any{
		"tenants": tenants, "services": services, "processes": len(processes),
	}, errors.Join(err1, err2, err3)
}

// names gives what a directory has that fits the pattern, sorted.
func names(dir, pattern string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	list := make([]string, len(paths))
	for i, path := range paths {
		list[i] = filepath.Base(path)
	}
	return list, err
}

// read gives a file's text, "" if there is none.
func (a app) read(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(a.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return string(text), err
}

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func answer(w http.ResponseWriter, status int, data any, err error) {
	if err != nil {
		log.Print(err)
		status, data = http.StatusInternalServerError, map[string]string{"error": "see the log"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(data) // an error here is a client that left
}
