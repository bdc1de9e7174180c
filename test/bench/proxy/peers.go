package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// Ports below those that the kernel gives out, where no connection meets itself. One for
// TLS is 100 above the plain one, one for the crowd's names, or for another app, 200.
const (
	tenementPort = 18080 + iota
	nginxPort
	haproxyPort
	caddyPort
	plainPort
	socketProxyPort
	tls    = 100
	byName = 200
)

// stepTimeout bounds each thing that is done once, crowdTimeout what is done to all of the
// crowd.
const (
	stepTimeout  = 20 * time.Second
	crowdTimeout = 5 * time.Minute
)

// peer is one of those that are compared.
type peer struct {
	name string
	port int // 0 for the backend itself, which chooses it
	tls  bool
	http bool // and not bytes only
}

var peers = []peer{
	{"tenement", tenementPort, true, true},
	{"nginx", nginxPort, true, true},
	{"haproxy", haproxyPort, true, true},
	{"caddy", caddyPort, true, true},
	{"ReverseProxy", plainPort, false, true},
	{socketProxy, socketProxyPort, false, false},
	{backendAlone, 0, false, true},
}

// backendAlone is what is behind all others.
const backendAlone = "backend alone"

// socketProxy is a peer that has been seen to end in the middle of it: what it has not measured
// says so, and is no reason to end.
const socketProxy = "socket-proxyd"

// haproxyHead and caddyHead are what the configurations of each have in common.
const (
	haproxyHead = `global
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
`
	caddyHead = `{
  admin off
  auto_https off
  log {
    output discard
  }
}
`
)

// configs are the files of the peers' configuration, by name.
var configs = map[string]string{
	// As Debian has it, without logs, and with kept connections to the backend.
	"nginx.conf": `daemon off; worker_processes auto; pid {{.Dir}}/nginx.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {{.Dir}}/t1; proxy_temp_path {{.Dir}}/t2; fastcgi_temp_path {{.Dir}}/t3; uwsgi_temp_path {{.Dir}}/t4; scgi_temp_path {{.Dir}}/t5;
  upstream app { server {{.Backend}}; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:{{.Nginx}} backlog=4096; listen 127.0.0.1:{{.NginxTLS}} ssl; http2 on;
    ssl_certificate {{.Dir}}/cert.pem; ssl_certificate_key {{.Dir}}/key.pem;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_request_buffering off; proxy_max_temp_file_size 0;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto $scheme;
    location / { proxy_pass http://app; }
    location /ws { proxy_pass http://{{.Echo}}; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
    location /upload { proxy_pass http://{{.Echo}}; }
  }
}`,
	"haproxy.cfg": haproxyHead + `frontend front
  bind 127.0.0.1:{{.HAProxy}} backlog 4096
  bind 127.0.0.1:{{.HAProxyTLS}} ssl crt {{.Dir}}/both.pem alpn h2,http/1.1
  use_backend echo if { path /ws /upload }
  default_backend app
backend app
  server app {{.Backend}} pool-max-conn 512
backend echo
  server echo {{.Echo}}
`,
	"Caddyfile": caddyHead + `http://:{{.Caddy}} {
  bind 127.0.0.1
  reverse_proxy /ws {{.Echo}}
  reverse_proxy /upload {{.Echo}}
  reverse_proxy {{.Backend}} {
    transport http {
      keepalive_idle_conns_per_host 512
    }
  }
}
https://:{{.CaddyTLS}} {
  bind 127.0.0.1
  tls {{.Dir}}/cert.pem {{.Dir}}/key.pem
  reverse_proxy {{.Backend}} {
    transport http {
      keepalive_idle_conns_per_host 512
    }
  }
}
`,
}

// group is the processes of one measurement.
type group struct {
	options options
	dir     string
	self    string // this program
	ten     string // Tenement's
	backend string
	echo    string   // where the instance listens that is asked for what is at echoPaths
	awake   []string // of the crowd, by name
	cmds    []*exec.Cmd
	logs    []*bytes.Buffer
}

// writeConfigs writes the files into the directory.
func (g *group) writeConfigs() error {
	values := map[string]any{
		"Dir": g.dir, "Backend": g.backend, "Echo": g.echo,
		"Nginx": nginxPort, "NginxTLS": nginxPort + tls, "HAProxy": haproxyPort, "HAProxyTLS": haproxyPort + tls,
		"Caddy": caddyPort, "CaddyTLS": caddyPort + tls,
	}
	return g.fill(configs, values)
}

// fill writes files of configuration with the values in them.
func (g *group) fill(configs map[string]string, values any) error {
	for name, text := range configs {
		var b bytes.Buffer
		if err := template.Must(template.New(name).Parse(text)).Execute(&b, values); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(g.dir, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// start starts the peers and waits until all of them pass on what the app says.
func (g *group) start(ctx context.Context) error {
	if err := g.writeConfigs(); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(g.dir, name) }
	err := g.runAll([]string{plainAddress + "=" + local(plainPort), plainBackend + "=" + g.backend, plainEcho + "=" + g.echo}, [][]string{
		{"nginx", "-c", at("nginx.conf"), "-p", g.dir},
		{"haproxy", "-f", at("haproxy.cfg")},
		{"caddy", "run", "--config", at("Caddyfile"), "--adapter", "caddyfile"},
		{g.self},
		{"systemd-socket-activate", "-l", local(socketProxyPort), "/usr/lib/systemd/systemd-socket-proxyd", "--connections-max=4096", g.backend},
		{"systemd-socket-activate", "-l", local(socketProxyPort + byName), "/usr/lib/systemd/systemd-socket-proxyd", g.echo},
	})
	if err != nil {
		return err
	}
	for _, p := range peers {
		if err := g.check(ctx, p); err != nil {
			return fmt.Errorf("%s: %w\n%s", p.name, err, g.lastWords())
		}
	}
	return nil
}

// check has a peer answer once.
func (g *group) check(ctx context.Context, p peer) error {
	if err := awaitAccepts(ctx, g.address(p, 0)); err != nil {
		return err
	}
	out, err := output(ctx, stepTimeout, "curl", "-sS", "-H", "Host: "+host, "http://"+g.address(p, 0)+"/")
	if err == nil && out != hello {
		err = fmt.Errorf("it answers %q", out)
	}
	if err == nil && p.http {
		_, err = echoes(1)(ctx, g, p, time.Millisecond)
	}
	return err
}

// runAll starts programs with the same environment.
func (g *group) runAll(env []string, programs [][]string) error {
	for _, argv := range programs {
		if err := g.run(env, argv...); err != nil {
			return err
		}
	}
	return nil
}

// run starts a program, which belongs to the group then.
func (g *group) run(env []string, argv ...string) error {
	// Nobody shall run out of descriptors: systemd-socket-proxyd takes six for each connection.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `ulimit -Sn "$(ulimit -Hn)"; exec "$@"`, "sh"}, argv...)...)
	log := &bytes.Buffer{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.dir, append(append(os.Environ(), "HOME="+g.dir), env...), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", argv[0], err)
	}
	g.cmds, g.logs = append(g.cmds, cmd), append(g.logs, log)
	return nil
}

// end ends all of them.
func (g *group) end() error {
	var errs []error
	for i, cmd := range g.cmds {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(stepTimeout, func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
		_ = cmd.Wait()
		if !timer.Stop() {
			errs = append(errs, fmt.Errorf("%s did not end\n%s", strings.Join(cmd.Args[3:], " "), tail(g.logs[i].String())))
		}
	}
	g.cmds = nil
	return errors.Join(errs...)
}

// lastWords is for errors; it ends the group, as its logs may be read then.
func (g *group) lastWords() string {
	_ = g.end()
	var b strings.Builder
	for _, log := range g.logs {
		b.WriteString(tail(log.String()))
	}
	return b.String()
}

// tail are the last lines of a text.
func tail(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(len(lines)-10, 0):], "")
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// awaitAccepts waits until somebody accepts connections there.
func awaitAccepts(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("nobody listens in time: %w", err)
		}
	}
}
