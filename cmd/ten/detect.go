package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"

	"tenement.dev/templates"
)

// maxSource bounds how much of a file is looked at, in bytes.
const maxSource = 1 << 20

// source is the directory of an app.
type source struct{ dir string }

func (s source) has(name string) bool {
	info, err := os.Stat(filepath.Join(s.dir, name))
	return err == nil && info.Mode().IsRegular()
}

// first gives the first of the names that is there, or "".
func (s source) first(names ...string) string {
	for _, name := range names {
		if s.has(name) {
			return name
		}
	}
	return ""
}

// text is what a file has; empty where it cannot be read.
func (s source) text(name string) string {
	if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Size() > maxSource {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// detectProject says what the app is, and nothing of what cannot be known.
func detectProject(s source) templates.Project {
	switch {
	case s.has("pyproject.toml"), s.has("requirements.txt"), s.first(pythonMains...) != "":
		return detectPython(s)
	case s.has("package.json"):
		return detectNode(s)
	case s.has("go.mod"):
		return detectGo(s)
	case s.has("Cargo.toml"):
		return detectRust(s)
	case s.has("config.ru"):
		return detectRuby(s)
	case s.has("index.php"), s.has("public/index.php"):
		return detectPHP(s)
	}
	return templates.Project{Kind: "plain"}
}

// healthPath is how a source says which path tells of its health.
var healthPath = regexp.MustCompile(`["'/ ](/(?:api/)?(?:healthz?|up|livez|readyz))["'\s]`)

func healthIn(text string) string {
	if m := healthPath.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

var pythonMains = []string{"app.py", "main.py", "server.py", "manage.py", "src/main.py"}

func detectPython(s source) templates.Project {
	var project struct {
		Project struct {
			Name         string
			Dependencies []string
		}
		Tool map[string]any
	}
	text := s.text("pyproject.toml")
	_, _ = toml.Decode(text, &project) // what is wrong in it is for Python to say
	main := s.first(pythonMains...)
	p := templates.Project{Kind: "Python", Service: project.Project.Name, Health: healthIn(s.text(main))}
	p.Env = map[string]string{"PYTHONUNBUFFERED": "1"} // or what it prints is logged when it ends, if at all
	python := "python3"
	_, uv := project.Tool["uv"]
	if uv = uv || s.has("uv.lock"); uv {
		p.Kind, p.Before = "Python/uv", "uv sync --no-editable --no-managed-python"
		p.Note = "uv keeps the packages in .venv; \"uv run\" would look for updates with each wake."
	}
	if uv || s.has(".venv/pyvenv.cfg") {
		python = ".venv/bin/python"
	}
	needs := strings.ToLower(strings.Join(project.Project.Dependencies, "\n") + s.text("requirements.txt"))
	switch {
	case main == "":
	case main == "manage.py":
		p.Command = python + " manage.py runserver --noreload 127.0.0.1:{port}"
		p.Note = "settings.py must have the database in $DATA_DIR, and the copies' hosts in ALLOWED_HOSTS; see docs/frameworks.md."
	case strings.Contains(needs, "fastapi") || strings.Contains(needs, "uvicorn"):
		p.Command = python + " -m uvicorn " + moduleOf(main) + ":app --host 127.0.0.1 --port {port}"
	case strings.Contains(needs, "gunicorn"):
		p.Command = python + " -m gunicorn --threads 8 --timeout 0 --bind 127.0.0.1:{port} " + moduleOf(main) + ":app"
	case strings.Contains(needs, "flask"): // app.run() listens where it likes
		p.Command = python + " -m flask --app " + moduleOf(main) + " run --host 127.0.0.1 --port {port}"
	default:
		p.Command = python + " " + main
	}
	return p
}

// moduleOf is how Python imports a file.
func moduleOf(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(file, ".py"), "/", ".")
}

func detectNode(s source) templates.Project {
	var project struct {
		Name, Main string
		Scripts    map[string]string
	}
	_ = json.Unmarshal([]byte(s.text("package.json")), &project) // what is wrong in it is for Node to say
	main := project.Main
	if main == "" {
		main = s.first("server.js", "index.js", "app.js", "server.mjs", "index.mjs", "src/index.js")
	}
	p := templates.Project{Kind: "Node", Service: project.Name, Health: healthIn(s.text(main))}
	start := strings.TrimSpace(project.Scripts["start"])
	switch {
	case strings.HasPrefix(start, "node ") && !strings.ContainsAny(start, "&|;<>$`"):
		p.Command = start
		words := strings.Fields(start)
		p.Health = healthIn(s.text(words[len(words)-1]))
	case start != "":
		p.Command = "npm start --silent"
		p.Note = "npm takes a while by itself: a wake is faster with what \"start\" runs."
	case main != "":
		p.Command = "node " + main
	}
	if s.first("package-lock.json", "yarn.lock", "pnpm-lock.yaml") != "" {
		p.Before = "npm ci"
	}
	return p
}

func detectGo(s source) templates.Project {
	module := regexp.MustCompile(`(?m)^module\s+"?([^\s"]+)`).FindStringSubmatch(s.text("go.mod"))
	p := templates.Project{Kind: "Go", Health: healthIn(s.text("main.go"))}
	if module != nil {
		p.Service = regexp.MustCompile(`/v[0-9]+$`).ReplaceAllString(module[1], "")
	}
	name := asLabel(p.Service)
	if name == "" {
		name = "app"
	}
	main := "."
	if !s.has("main.go") && s.has("cmd/"+name+"/main.go") {
		main = "./cmd/" + name
		p.Health = healthIn(s.text("cmd/" + name + "/main.go"))
	}
	p.Command, p.Before = "./bin/"+name, "go build -o bin/"+name+" "+main
	p.Note = "a built program: \"go run\" would compile with each wake."
	return p
}

func detectRust(s source) templates.Project {
	var project struct{ Package struct{ Name string } }
	_, _ = toml.Decode(s.text("Cargo.toml"), &project) // what is wrong in it is for cargo to say
	p := templates.Project{Kind: "Rust", Service: project.Package.Name, Health: healthIn(s.text("src/main.rs"))}
	if p.Service != "" {
		p.Command, p.Before = "./target/release/"+p.Service, "cargo build --release"
	}
	return p
}

func detectRuby(s source) templates.Project {
	p := templates.Project{Kind: "Ruby", Health: healthIn(s.text("config.ru")), Command: "puma --bind tcp://127.0.0.1:{port}"}
	if s.has("Gemfile") {
		p.Command, p.Before = "bundle exec "+p.Command, "bundle install"
	}
	return p
}

func detectPHP(s source) templates.Project {
	p := templates.Project{Kind: "PHP", Command: "php -d session.save_path={data_dir}/{id} -S 127.0.0.1:{port}"}
	if s.has("public/index.php") {
		p.Command += " -t public"
	}
	p.Note = "PHP's own server takes one request at a time."
	return p
}
