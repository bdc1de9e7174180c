package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// crowdCase asks many tenants in turns. Each is a process of its own, and everybody has these
// for their backends: Tenement made them, and finds them as it always does, the others have
// been told of each by name.
const crowdCase = "GET, 1,000 hosts in turns, 10,000 registered, 32 connections"

// crowdConfigs are the peers that know of the crowd, each a process beside the one for the
// other cases. nginx and HAProxy have all the names in a table, with those that sleep; Caddy
// looks through its own in order, so it is told of those only that are asked.
var crowdConfigs = map[string]string{
	"nginx-crowd.conf": `daemon off; worker_processes auto; pid {{.Dir}}/nginx-crowd.pid; error_log /dev/null;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {{.Dir}}/t1; proxy_temp_path {{.Dir}}/t2; fastcgi_temp_path {{.Dir}}/t3; uwsgi_temp_path {{.Dir}}/t4; scgi_temp_path {{.Dir}}/t5;
  map_hash_max_size 65536; map_hash_bucket_size 128;
  upstream asleep { server 127.0.0.1:9; }{{range .Awake}}
  upstream {{.Name}} { server {{.Address}}; keepalive 32; keepalive_requests 1000000000; }{{end}}
  map $host $tenant { default asleep;{{range .Asleep}} {{.Host}} asleep;{{end}}{{range .Awake}} {{.Host}} {{.Name}};{{end}} }
  server {
    listen 127.0.0.1:{{.Nginx}} backlog=4096;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto $scheme;
    location / { proxy_pass http://$tenant; }
  }
}`,
	"haproxy-crowd.cfg": haproxyHead + `frontend front
  bind 127.0.0.1:{{.HAProxy}} backlog 4096
  use_backend %[req.hdr(host),map({{.Dir}}/haproxy-crowd.map,asleep)]
backend asleep
  server asleep 127.0.0.1:9{{range .Awake}}
backend {{.Name}}
  server app {{.Address}} pool-max-conn 32{{end}}
`,
	"haproxy-crowd.map": `{{range .Asleep}}{{.Host}} asleep
{{end}}{{range .Awake}}{{.Host}} {{.Name}}
{{end}}`,
	"Caddyfile-crowd": caddyHead + `http://:{{.Caddy}} {
  bind 127.0.0.1
  map {host} {tenant} {
{{range .Awake}}    {{.Host}} {{.Address}}
{{end}}    default 127.0.0.1:9
  }
  reverse_proxy {tenant} {
    transport http {
      keepalive_idle_conns_per_host 32
    }
  }
}
`,
	"plain-crowd": `{{range .Awake}}{{.Host}} {{.Address}}
{{end}}`,
	// wrk's own: each request is made once, and they are sent in turns.
	"crowd.lua": `local requests, turn = {}, 0
function init(args)
  for _, host in ipairs({ {{range .Awake}}"{{.Host}}",{{end}} }) do
    wrk.headers["Host"] = host
    table.insert(requests, wrk.format("GET", "/count"))
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
`,
}

// tenantOf is one of the crowd.
type tenantOf struct{ Name, Host, Address string }

// crowdName is the name of one of the crowd.
func crowdName(i int) string { return fmt.Sprintf("t%05d", i) }

// register writes the crowd into the registry of a Tenement that does not run.
func (g *group) register(ctx context.Context) (err error) {
	store, err := registry.Open(ctx, filepath.Join(g.dir, "data/.tenement/registry.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for i := range g.options.registered {
		if _, err := store.Add(ctx, registry.Instance{ID: tenant.ID{Service: crowd, Name: crowdName(i)}}); err != nil {
			return err
		}
	}
	return nil
}

// ports gives where those of the crowd listen that are awake, by name.
func (g *group) ports(ctx context.Context) (map[string]int, error) {
	text, err := g.tell(ctx, "ps", crowd, "--json")
	if err != nil {
		return nil, err
	}
	var list []tenant.Snapshot
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	ports := map[string]int{}
	for _, s := range list {
		if s.State == tenant.Awake {
			ports[s.ID.Name] = s.Port
		}
	}
	return ports, nil
}

// wakeCrowd wakes those who are asked, and starts the peers that know of them.
func wakeCrowd(ctx context.Context, g *group) error {
	ctx, cancel := context.WithTimeout(ctx, crowdTimeout)
	defer cancel()
	for i := range g.options.hosts {
		g.awake = append(g.awake, crowdName(i))
	}
	if err := g.visitAll(ctx, local(tenementPort)); err != nil {
		return fmt.Errorf("wake: %w", err)
	}
	if err := g.startCrowd(ctx); err != nil {
		return err
	}
	for _, p := range peers {
		if !knowsNames(p) {
			continue
		}
		err := awaitAccepts(ctx, g.crowdAddress(p))
		if err == nil {
			err = g.visitAll(ctx, g.crowdAddress(p)) // each has its connections then
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", p.name, err, g.lastWords())
		}
	}
	return nil
}

// visitAll asks each of those who are awake once, a few at a time.
func (g *group) visitAll(ctx context.Context, address string) error {
	client := &http.Client{Timeout: stepTimeout, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}}
	defer client.CloseIdleConnections()
	const visitors = 4
	errs := make([]error, visitors)
	var all sync.WaitGroup
	for v := range visitors {
		all.Go(func() {
			for i := v; i < len(g.awake) && errs[v] == nil; i += visitors {
				errs[v] = visit(ctx, client, crowdHost(g.awake[i]))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func crowdHost(name string) string { return name + "." + crowd + "." + domain }

// visit asks one of the crowd, which must answer itself: it counts its visitors.
func visit(ctx context.Context, client *http.Client, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/count", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || strings.Trim(string(text), "0123456789\n") != "") {
		err = fmt.Errorf("%s answers %d %.100q", host, resp.StatusCode, text)
	}
	return err
}

// startCrowd starts the peers that know of the crowd.
func (g *group) startCrowd(ctx context.Context) error {
	ports, err := g.ports(ctx)
	if err != nil {
		return err
	}
	var awake, asleep []tenantOf
	for i := range g.options.registered {
		t := tenantOf{crowdName(i), crowdHost(crowdName(i)), ""}
		if !slices.Contains(g.awake, t.Name) {
			asleep = append(asleep, t)
			continue
		}
		port, ok := ports[t.Name]
		if !ok {
			return fmt.Errorf("%s is not awake", t.Name)
		}
		t.Address = local(port)
		awake = append(awake, t)
	}
	err = g.fill(crowdConfigs, map[string]any{
		"Dir": g.dir, "Awake": awake, "Asleep": asleep,
		"Nginx": nginxPort + byName, "HAProxy": haproxyPort + byName, "Caddy": caddyPort + byName,
	})
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(g.dir, name) }
	return g.runAll([]string{plainAddress + "=" + local(plainPort+byName), plainNames + "=" + at("plain-crowd")}, [][]string{
		{"nginx", "-c", at("nginx-crowd.conf"), "-p", g.dir},
		{"haproxy", "-f", at("haproxy-crowd.cfg")},
		{"caddy", "run", "--config", at("Caddyfile-crowd"), "--adapter", "caddyfile"},
		{g.self},
	})
}

// crowdAddress is where to ask a peer for one of the crowd.
func (g *group) crowdAddress(p peer) string {
	if p.port == tenementPort {
		return local(tenementPort)
	}
	return local(p.port + byName)
}

// askCrowd has wrk ask all of those who are awake in turns.
func askCrowd(ctx context.Context, g *group, p peer, each time.Duration) (sample, error) {
	return runWrk(ctx, 32, each, "http://"+g.crowdAddress(p)+"/", "-s", filepath.Join(g.dir, "crowd.lua"))
}
