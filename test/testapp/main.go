// Command testapp is the app of the integration tests: it tells what reached it and
// misbehaves on request. It listens where Tenement tells it to, by PORT, SOCKET_PATH
// or an inherited descriptor.
package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/test/rawapp"
)

func main() {
	if len(os.Args) > 1 {
		misbehave(os.Args[1:])
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "testapp:", err)
		os.Exit(1)
	}
}

// misbehave does at startup what its arguments say, a word each, and then goes on.
func misbehave(words []string) {
	for _, word := range words {
		verb, value, _ := strings.Cut(word, "=")
		switch verb {
		case "exit":
			code, _ := strconv.Atoi(value)
			fmt.Fprintln(os.Stderr, "exiting as told")
			os.Exit(code)
		case "delay":
			d, _ := time.ParseDuration(value)
			time.Sleep(d)
		case "hang":
			time.Sleep(time.Hour)
		case "alone":
			beAlone()
		case "unless":
			// Ends unless the file is there.
			if _, err := os.Stat(value); err != nil {
				fmt.Fprintln(os.Stderr, "not fixed yet")
				os.Exit(3)
			}
		}
	}
}

func run() error {
	l, err := listen()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if slices.Contains(os.Args[1:], "raw") {
		return runRaw(ctx, l)
	}
	server := &http.Server{Handler: signed(routes())}
	go func() {
		<-ctx.Done()
		mark("term")
		shutdown, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdown)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// runRaw serves as an app that knows no better; see package rawapp.
func runRaw(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	if err := rawapp.Serve(l, rawapp.Records(os.Getenv("DATA_DIR")).Open); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func listen() (net.Listener, error) {
	switch {
	case os.Getenv("LISTEN_FDS") != "":
		if pid := os.Getenv("LISTEN_PID"); pid != strconv.Itoa(os.Getpid()) {
			return nil, fmt.Errorf("LISTEN_PID is %s, my pid %d", pid, os.Getpid())
		}
		return net.FileListener(os.NewFile(3, "app"))
	case os.Getenv("SOCKET_PATH") != "":
		return net.Listen("unix", os.Getenv("SOCKET_PATH"))
	default:
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	}
}

// mark leaves a line in the data directory, to be found when the app is gone.
func mark(word string) {
	f, err := os.OpenFile(filepath.Join(os.Getenv("DATA_DIR"), "marks"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, word)
}

// Seen is what / answers.
type Seen struct {
	Method, Host, URI string
	Header            http.Header
	Body              string
	PID               int
	Env               []string
}

func routes() http.Handler {
	var count, started, sick, checks atomic.Int64
	mux := exact{}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Seen{r.Method, r.Host, r.RequestURI, r.Header, string(body), os.Getpid(), os.Environ()})
	})
	// What /sick says goes for all later checks; 0 is no answer at all.
	mux.HandleFunc("/sick", func(_ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, "feeling", number(r, "status"))
		sick.Store(int64(number(r, "status")))
	})
	mux.HandleFunc("/checks", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, checks.Load()) })
	sick.Store(http.StatusOK)
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		checks.Add(1)
		status := int(sick.Load())
		if status == 0 {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, "200 OK is only in the body")
	})
	// The first three times it is not healthy yet.
	mux.HandleFunc("/health-late", func(w http.ResponseWriter, _ *http.Request) {
		if started.Add(1) < 4 {
			http.Error(w, "200 not yet", http.StatusServiceUnavailable)
		}
	})
	// One of the release "bad" never is.
	mux.HandleFunc("/health-of-release", func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv("RELEASE") == "bad" {
			http.Error(w, "a bad release", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/never-healthy", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "200 is only in the body", http.StatusInternalServerError)
	})
	mux.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, count.Add(1)) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		sleep(r, "ms")
		fmt.Fprintln(w, "done")
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, "code")) })
	mux.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) { os.Exit(number(r, "code")) })
	mux.HandleFunc("/log", func(_ http.ResponseWriter, r *http.Request) {
		if n := number(r, "pad"); n > 0 {
			fmt.Print(strings.Repeat("x", n))
		}
		fmt.Println(r.URL.Query().Get("out"))
		fmt.Fprintln(os.Stderr, r.URL.Query().Get("err"))
	})
	mux.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(r.URL.Query().Get("path"), []byte("x"), 0o600); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		text, err := read(r.URL.Query().Get("path"), number(r, "most"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = w.Write(text)
	})
	mux.HandleFunc("/eat", eat)
	mux.HandleFunc("/fork", fork)
	mux.HandleFunc("/fill", fill)
	mux.HandleFunc("/leave-project", leaveProject)
	mux.HandleFunc("/rlimits", rlimits)
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, os.Getenv(r.URL.Query().Get("name"))) })
	mux.HandleFunc("/forbidden", forbidden)
	mux.HandleFunc("/bind", bind)
	mux.HandleFunc("/connect", connect)
	mux.HandleFunc("/extra", extra)
	// A job in the background, which uses a core for so many ms.
	mux.HandleFunc("/burn", func(_ http.ResponseWriter, r *http.Request) {
		end := time.Now().Add(time.Duration(number(r, "ms")) * time.Millisecond)
		go func() {
			for time.Now().Before(end) {
			}
		}()
	})
	mux.HandleFunc("/keep", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Tenement-Keep-Awake", r.URL.Query().Get("for"))
	})
	mux.HandleFunc("/cron", func(_ http.ResponseWriter, r *http.Request) {
		mark(r.Method + " " + r.Header.Get("Tenement-Schedule"))
	})
	mux["/notes"] = (&notebook{}).ServeHTTP
	mux.HandleFunc("/upload", upload)
	mux.HandleFunc("/download", download)
	mux.HandleFunc("/zeros", sendZeros)
	mux.HandleFunc("/events", events)
	mux.HandleFunc("/ws", webSocket)
	return mux
}

// read gives a file, or the first bytes of it.
func read(path string, most int) ([]byte, error) {
	if most == 0 {
		return os.ReadFile(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(most)))
}

// exact finds handlers by the exact path, and gives the rest to that of "/": unlike
// http.ServeMux it redirects nobody to a cleaner path.
type exact map[string]http.HandlerFunc

// HandleFunc registers f.
func (e exact) HandleFunc(path string, f http.HandlerFunc) { e[path] = f }

func (e exact) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := e[r.URL.Path]
	if !ok {
		f = e["/"]
	}
	f(w, r)
}

func number(r *http.Request, key string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(key))
	return n
}

func sleep(r *http.Request, key string) {
	select {
	case <-time.After(time.Duration(number(r, key)) * time.Millisecond):
	case <-r.Context().Done():
	}
}

// forbidden tries what a sandbox must refuse, and tells what worked.
func forbidden(w http.ResponseWriter, _ *http.Request) {
	tries := map[string]func() error{
		"read the kernel's log": func() error { _, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 64)); return err },
		"set the host name":     func() error { return unix.Sethostname([]byte("mine")) },
		"set the clock":         func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: 1e9}) },
		"load a module":         func() error { return unix.InitModule([]byte("x"), "") },
		"become real-time": func() error {
			return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		},
		"mount":                 func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
		"make a user namespace": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"become root":           func() error { return unix.Setresuid(0, 0, 0) },
		"write /proc/sys":       func() error { return os.WriteFile("/proc/sys/kernel/hostname", []byte("mine"), 0) },
		"write /sys":            func() error { return os.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", []byte("always"), 0) },
		"make a set-uid file": func() error {
			path := filepath.Join(os.Getenv("DATA_DIR"), "suid")
			return errors.Join(os.WriteFile(path, nil, 0o755), unix.Chmod(path, 0o4755))
		},
		"open the API's socket": func() error { return dialUnix("/run/tenement/api.sock") },
	}
	for name, try := range tries {
		if err := try(); err == nil {
			fmt.Fprintln(w, name)
		}
	}
}

func dialUnix(path string) error {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return err
}

// upload answers how many bytes came. It reads much at a time: benchmarks measure others with it.
func upload(w http.ResponseWriter, r *http.Request) {
	buf := make([]byte, 256<<10)
	for all := 0; ; {
		n, err := r.Body.Read(buf)
		all += n
		switch {
		case errors.Is(err, io.EOF):
			fmt.Fprintln(w, all)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
}

// download sends n lines, one every ms.
func download(w http.ResponseWriter, r *http.Request) {
	for i := range number(r, "n") {
		fmt.Fprintf(w, "line %d\n", i)
		_ = http.NewResponseController(w).Flush()
		sleep(r, "ms")
	}
}

// sendZeros sends n bytes.
func sendZeros(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", r.URL.Query().Get("n"))
	buf := make([]byte, 64<<10)
	for left := number(r, "n"); left > 0; left -= len(buf) {
		if _, err := w.Write(buf[:min(left, len(buf))]); err != nil {
			return
		}
	}
}

// events sends n events, one every ms; comments instead with comment=1.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range number(r, "n") {
		if r.URL.Query().Get("comment") != "" {
			fmt.Fprint(w, ": still here\n\n")
		} else {
			fmt.Fprintf(w, "data: %d\n\n", i)
		}
		_ = http.NewResponseController(w).Flush()
		sleep(r, "ms")
		if r.Context().Err() != nil {
			return
		}
	}
}

// webSocket echoes frames (RFC 6455) as they come, unmasked, and answers pings.
func webSocket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	_ = rw.Flush()
	for {
		opcode, payload, err := readFrame(rw.Reader)
		if err != nil {
			return
		}
		if opcode == 9 {
			opcode = 10 // a ping's answer
		}
		_, _ = rw.Write(append([]byte{0x80 | opcode, byte(len(payload))}, payload...))
		_ = rw.Flush()
	}
}

// readFrame reads a short masked frame.
func readFrame(r *bufio.Reader) (opcode byte, payload []byte, err error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= head[2+i%4]
	}
	return head[0] & 0x0f, payload, nil
}
