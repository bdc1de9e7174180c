package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	// Names below it lead to this machine (nss-myhostname(8)): wrk names in its handshake
	// what it connects to.
	domain     = "localhost"
	service    = "web"
	instance   = "app"
	runtimeDir = "/run/tenement-bench"

	// crowd is the service of the many, and of the one that is asked for what is at echoPaths.
	crowd = "many"
	echo  = "echo"
)

// host is the name of the instance that nearly all cases are measured with, echoHost that of
// the one that is asked for what is at echoPaths.
const (
	host     = instance + "." + service + "." + domain
	echoHost = echo + "." + crowd + "." + domain
)

// echoPaths are where a WebSocket sends back what comes, and where a body is read.
var echoPaths = []string{"/ws", "/upload"}

// hello is what the app says.
const hello = "hello from the app\n"

// app is the script that is the instance: an nginx on the port that it is given.
const app = `set -eu
cd "$1"
printf '%s' "$PORT" > port.new
cat > backend.conf <<EOF
daemon off; worker_processes 1; pid $1/backend.pid; error_log /dev/null;
events { worker_connections 8192; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path $1/b1; proxy_temp_path $1/b2; fastcgi_temp_path $1/b3; uwsgi_temp_path $1/b4; scgi_temp_path $1/b5;
  default_type text/plain;
  server {
    listen 127.0.0.1:$PORT backlog=8192;
    location = / { return 200 "hello from the app\n"; }
    set \$kilo "$(head -c 1024 /dev/zero | tr '\0' x)"; # a parameter has 4 KB at most
    location = /10k { return 200 "\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo"; }
    location / { root $1/files; }
  }
}
EOF
mv port.new port
exec nginx -c "$1/backend.conf" -p "$1"
`

// startTenement starts `ten serve` with the instance awake, and fills in where that
// listens.
func (g *group) startTenement(ctx context.Context, repo string) error {
	if err := g.makeFiles(); err != nil {
		return err
	}
	config := fmt.Sprintf(`[settings]
data_dir = %q
[settings.tls]
cert = %q
key = %q
redirect = false
[service.%s]
command = "/bin/sh"
args = [%q, %q]
isolation = "process"
max_in_flight = 100000
[service.%s]
command = %q
isolation = "process"
`, filepath.Join(g.dir, "data"), filepath.Join(g.dir, "cert.pem"), filepath.Join(g.dir, "key.pem"),
		service, filepath.Join(g.dir, "app.sh"), g.dir, crowd, filepath.Join(repo, "bin/testapp"))
	if err := os.WriteFile(filepath.Join(g.dir, "tenement.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := g.register(ctx); err != nil {
		return err
	}
	g.ten = filepath.Join(repo, "bin/ten")
	err := g.run(g.tenEnv(), g.ten, "serve", "--domain", domain, "--listen", "127.0.0.1", "--port", fmt.Sprint(tenementPort), "--https-port", fmt.Sprint(tenementPort+tls))
	if err != nil {
		return err
	}
	if err := awaitAccepts(ctx, local(tenementPort)); err != nil {
		return fmt.Errorf("ten serve: %w\n%s", err, g.lastWords())
	}
	if _, err := g.tell(ctx, "spawn", service+":"+instance, crowd+":"+echo); err != nil {
		return err
	}
	port, err := os.ReadFile(filepath.Join(g.dir, "port"))
	if err != nil {
		return err
	}
	g.backend = "127.0.0.1:" + string(port)
	ports, err := g.ports(ctx)
	if err != nil {
		return err
	}
	g.echo = local(ports[echo])
	return errors.Join(awaitAccepts(ctx, g.backend), awaitAccepts(ctx, g.echo))
}

// destroy removes the instances again, which takes as long for the crowd as waking it.
func (g *group) destroy(ctx context.Context) error {
	if g.options.leave {
		return nil
	}
	ids := []string{"destroy", "--yes", service + ":" + instance, crowd + ":" + echo}
	for _, name := range g.awake {
		ids = append(ids, crowd+":"+name)
	}
	_, err := g.tell(ctx, ids...)
	return err
}

func (g *group) tenEnv() []string {
	return []string{"RUNTIME_DIRECTORY=" + runtimeDir, "STATE_DIRECTORY=" + filepath.Join(g.dir, "state")}
}

// tell runs a command of Tenement's, and gives what it prints.
func (g *group) tell(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, crowdTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.ten, args...)
	cmd.Dir, cmd.Env = g.dir, append(os.Environ(), g.tenEnv()...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		return nil, fmt.Errorf("ten %s: %w\n%s", args[0], err, tail(string(out)))
	}
	return out, nil
}

// makeFiles makes what is served, and the certificate.
func (g *group) makeFiles() error {
	if err := os.Mkdir(filepath.Join(g.dir, "files"), 0o755); err != nil {
		return err
	}
	for name, size := range map[string]int64{"1m": 1 << 20, "1g": cmp.Or(g.options.large, 1<<30)} {
		path := filepath.Join(g.dir, "files", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, size)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(g.dir, "app.sh"), []byte(app), 0o644); err != nil {
		return err
	}
	return g.makeCert()
}

func (g *group) makeCert() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{host, "*." + service + "." + domain, domain, "localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	var errs []error
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": private, "both.pem": append(append([]byte{}, cert...), private...)} {
		errs = append(errs, os.WriteFile(filepath.Join(g.dir, name), text, 0o600))
	}
	return errors.Join(errs...)
}
