package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stepTimeout bounds every single wait of the benchmark.
const stepTimeout = 30 * time.Second

// answer is an HTTP answer and when its first byte came.
type answer struct {
	firstByte time.Time
	header    http.Header
}

// ask makes a GET on conn and closes it. An answer other than 200 is an error. It is
// net/http without its pools and goroutines, whose cost is not to be measured.
func ask(ctx context.Context, conn net.Conn, host, path string) (answer, error) {
	return askFor(ctx, conn, host, path, stepTimeout)
}

// askFor is ask with a bound of its own.
func askFor(ctx context.Context, conn net.Conn, host, path string, timeout time.Duration) (answer, error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.SetDeadline(time.Now().Add(timeout))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host); err != nil {
		return answer{}, err
	}
	r := bufio.NewReader(conn)
	if _, err := r.Peek(1); err != nil {
		return answer{}, fmt.Errorf("no answer from %s: %w", host, err)
	}
	a := answer{firstByte: time.Now()}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("GET %s of %s: %s: %s", path, host, resp.Status, body)
	}
	a.header = resp.Header
	return a, nil
}

// phases are the parts of a wake, in their order, as Server-Timing names them; the
// last is what the client saw beyond them.
var phases = []string{"queue", "load", "unit_start", "app_ready", "health", "first_byte", rest}

const rest = "rest"

// parseTiming reads the header Server-Timing of a woken answer: the kind of the wake
// and the milliseconds of its phases.
func parseTiming(header string) (kind string, ms map[string]float64, err error) {
	ms = make(map[string]float64)
	for metric := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(metric), ";")
		for param := range strings.SplitSeq(params, ";") {
			key, value, _ := strings.Cut(param, "=")
			switch {
			case key == "dur":
				if ms[name], err = strconv.ParseFloat(value, 64); err != nil {
					return "", nil, fmt.Errorf("Server-Timing %q: %w", header, err)
				}
			case key == "desc" && name == "wake":
				kind = strings.Trim(value, `"`)
			}
		}
	}
	for _, name := range phases {
		if _, ok := ms[name]; !ok && name != rest {
			return "", nil, fmt.Errorf("Server-Timing %q has no %s", header, name)
		}
	}
	return kind, ms, nil
}
