package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// metricsConfig has a service for each kind of trouble.
const metricsConfig = `
[settings]
metrics_listen = "127.0.0.1:9464"
health_check_interval = 0.2
[service.app]
command = "{bin}/testapp"
health = "/health"
[service.dozy]
command = "{bin}/testapp"
doze_timeout = 0.3
no_wake = ["head"]
[service.broken]
command = "/bin/false"
`

const metricsURL = "http://127.0.0.1:9464/metrics"

func fetchMetrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(metricsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got status %d, %v: %s", resp.StatusCode, err, text)
	}
	return string(text)
}

// TestMetrics has something of each kind happen, and looks for it in the metrics with
// Prometheus's own tools: the scrape, the alerts and the dashboard.
func TestMetrics(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: metricsConfig})
	s.Spawn("app:alice", "app:bob", "dozy:carol")
	s.Fetch("app:alice", "/sick?status=500") // which it is restarted for
	s.Await("dozy:carol", tenant.Dozing)
	if resp, err := s.Do(t.Context(), http.MethodHead, "dozy:carol", "/", ""); err != nil || resp.Status != http.StatusOK {
		t.Fatalf("HEAD while it dozes: got %d, %v, want 200", resp.Status, err)
	}
	s.Text("dozy:carol", "/")
	s.Ten("stop", "app:bob")
	eventually(t, "it is started again", func() bool { i := s.Get("app:alice"); return i.Restarts > 0 && i.State == tenant.Awake })
	s.Ten("spawn", "broken:x") // which does not start
	stream := openStream(t, s, "app:alice")
	defer stream.Close()

	text := fetchMetrics(t)
	for _, want := range []string{
		`tenement_requests_total\{code="2xx",service="app"\} [1-9]`,
		`tenement_wake_duration_seconds_count\{kind="cold",service="app"\} [3-9]`,
		`tenement_wake_duration_seconds_count\{kind="doze",service="dozy"\} [1-9]`,
		`tenement_wake_failures_total\{code="start_failed",service="broken"\} [1-9]`,
		`tenement_requests_not_woken_total\{kind="head",service="dozy"\} 1`,
		`tenement_restarts_total\{service="app"\} 1`,
		`tenement_instances\{service="app",state="asleep"\} 1`,
		`tenement_requests_in_flight\{service="app"\} 1`,
		`tenement_instance_cpu_seconds_total\{service="app",tenant="alice"\} 0\.\d*[1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(text) {
			t.Errorf("no line like %s", want)
		}
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	socket := s.Command("curl", "-sS", "--unix-socket", "/run/tenement/api.sock", "http://tenement/metrics")
	if out, err := socket.CombinedOutput(); err != nil || !strings.Contains(string(out), "tenement_build_info{") {
		t.Errorf("over the API's socket: got %v\n%.300s", err, out)
	}
	if resp := s.Fetch("app:alice", "/metrics"); strings.Contains(resp.Body, "tenement_build_info") {
		t.Errorf("at an instance's host name: got the daemon's metrics, want the app's answer")
	}
	refusesInstances(t, s)
	inPrometheus(t, text)
}

// openStream has a request in flight until it is closed.
func openStream(t *testing.T, s *harness.Server, id string) io.Closer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	service, name, _ := strings.Cut(id, ":")
	fmt.Fprintf(conn, "GET /slow?ms=60000 HTTP/1.1\r\nHost: %s.%s.localhost\r\n\r\n", name, service)
	eventually(t, "the request is in flight", func() bool { return s.Get(id).InFlight > 0 })
	return conn
}

// refusesInstances asks as the user of an instance, which shares the loopback.
func refusesInstances(t *testing.T, s *harness.Server) {
	t.Helper()
	info, err := os.Stat(filepath.Join("/proc", s.Show("app:alice", "MainPID")))
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		t.Fatalf("got uid of %+v, want an instance's own", info.Sys())
	}
	curl := exec.Command("curl", "-sS", "-o", "/dev/null", metricsURL)
	curl.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
	var exit *exec.ExitError
	if out, err := curl.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("as an instance: got %v %s, want that it cannot connect", err, out)
	}
	// Where there is no fence it gets this far: the socket becomes its own once it is through.
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		f, err := conn.(*net.TCPConn).File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return conn, f.Chown(int(stat.Uid), int(stat.Gid))
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(metricsURL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("an instance that has got through: got %s, want 403", resp.Status)
	}
}

// controllers are the series of what is only known where cgroups have controllers, and
// of data directories once those have been looked at; the unit tests have all of them.
var controllers = regexp.MustCompile(`^tenement_instance_(memory|swap|io|storage|tasks)_`)

// inPrometheus runs a Prometheus that scrapes the daemon, with the packaged alerts, and
// evaluates every expression of theirs and of the dashboard.
func inPrometheus(t *testing.T, scrape string) {
	t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(repo, "packaging/prometheus/tenement.rules.yml")
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", rules},
		{"test", "rules", filepath.Join(repo, "packaging/prometheus/tenement.rules.test.yml")},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: tenement
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ["127.0.0.1:9464"]}]
`, rules)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	prometheus := exec.CommandContext(ctx, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:9990", "--log.level=warn")
	prometheus.Stderr = os.Stderr
	if err := prometheus.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = prometheus.Wait() }()

	eventually(t, "Prometheus has scraped twice", func() bool {
		var count []struct{ Value [2]any }
		return query(`sum(count_over_time(up{job="tenement"}[5m]))`, &count) == nil && len(count) == 1 && count[0].Value[1] != "1"
	})
	eventually(t, "the daemon is up", func() bool { // one scrape of a busy machine may take too long
		var up []struct{ Value [2]any }
		return query(`up{job="tenement"}`, &up) == nil && len(up) == 1 && up[0].Value[1] == "1"
	})
	// Prometheus has a label "instance" of its own, which takes the place of others' of that name.
	var alice []struct{ Value [2]any }
	if err := query(`tenement_instance_state{service="app",tenant="alice",instance="127.0.0.1:9464"}`, &alice); err != nil || len(alice) == 0 {
		t.Errorf("series of app:alice in Prometheus: got %v, %v, want some", alice, err)
	}
	for _, expr := range expressions(t, repo, rules) {
		expr = strings.NewReplacer("$__rate_interval", "1m", "$service", ".*").Replace(expr)
		if err := query(expr, nil); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
		for _, name := range regexp.MustCompile(`\b(tenement|process|go)_[a-z_]+`).FindAllString(expr, -1) {
			if !strings.Contains(scrape, "\n"+name+"{") && !strings.Contains(scrape, "\n"+name+" ") && !controllers.MatchString(name) {
				t.Errorf("%s: there is no %s", expr, name)
			}
		}
	}
}

// query evaluates an expression.
func query(expr string, result any) error {
	resp, err := http.Get("http://127.0.0.1:9990/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("got %s: %s", answer.Status, answer.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Data.Result, result)
}

// expressions are those of the alerts, as Prometheus has read them, and of the dashboard.
func expressions(t *testing.T, repo, rules string) []string {
	t.Helper()
	resp, err := http.Get("http://127.0.0.1:9990/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var loaded struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Query, LastError string }
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&loaded); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, group := range loaded.Data.Groups {
		for _, rule := range group.Rules {
			list = append(list, rule.Query)
			if rule.LastError != "" {
				t.Errorf("%s: %s", rule.Query, rule.LastError)
			}
		}
	}
	if len(list) == 0 {
		t.Errorf("got no alerts from %s", rules)
	}
	text, err := os.ReadFile(filepath.Join(repo, "packaging/grafana/tenement.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("panel %s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			list = append(list, target.Expr)
		}
	}
	return list
}

// TestScrapeOfMany scrapes with many registered instances of which some are awake.
func TestScrapeOfMany(t *testing.T) {
	const registered, awake = 100, 10
	s := harness.New(t, harness.Options{Config: `
[settings]
metrics_listen = "127.0.0.1:9464"
[service.app]
command = "{bin}/testapp"
isolation = "process"
`})
	private := filepath.Join(s.Dir, "data/.tenement")
	store, err := registry.Open(t.Context(), filepath.Join(private, "registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, registered)
	for i := range ids {
		ids[i] = fmt.Sprintf("app:i%d", i)
		if _, err := store.Add(t.Context(), registry.Instance{ID: tenant.ID{Service: "app", Name: ids[i][len("app:"):]}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	s.Run()
	s.Spawn(ids[:awake]...)
	var times []time.Duration
	var text string
	for range 20 {
		begun := time.Now()
		text = fetchMetrics(t)
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	t.Logf("a scrape of %d instances, %d of them awake: %v in the middle, %v at most, %d KiB", registered, awake,
		times[len(times)/2], times[len(times)-1], len(text)>>10)
	if got := times[0]; got > time.Second { // some ms where nothing else runs
		t.Errorf("the fastest scrape took %v", got)
	}
	for prefix, want := range map[string]int{"tenement_instance_state{": registered, "tenement_instance_cpu_seconds_total{": awake} {
		if got := strings.Count(text, "\n"+prefix); got != want {
			t.Errorf("got %d of %s, want %d", got, prefix, want)
		}
	}
}
