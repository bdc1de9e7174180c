package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Setting is one key as it holds.
type Setting struct {
	// Table is the dotted name of its table, such as service.notes.
	Table string `json:"table"`
	Key   string `json:"key"`
	// Value is as TOML has it.
	Value any `json:"value"`
	// Default: the file does not have the key.
	Default bool `json:"default"`
	// Means is what holds where the file does not have the key, in words, for a key without a
	// value of its own then; Value is nil.
	Means string `json:"means,omitempty"`
}

// TOML is the setting as a line of TOML; a comment, where it has no value.
func (s Setting) TOML() string {
	if s.Value == nil {
		return fmt.Sprintf("# %s: %s", s.Key, s.Means)
	}
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	if err := e.Encode(map[string]any{s.Key: s.Value}); err != nil {
		return fmt.Sprintf("# %s: %v", s.Key, err) // no value that was decoded gets here
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Show gives what holds by the file at path, in the order of the reference: what the file
// has and the defaults of the rest, which may be in words. Keys without either are left out. The error is that of
// LoadChecked.
func Show(path string, calendar func(entry string) error) ([]Setting, error) {
	if _, err := LoadChecked(path, calendar); err != nil {
		return nil, err
	}
	text, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var document struct {
		Settings  map[string]any
		Service   map[string]map[string]any
		Instances map[string]any
	}
	if _, err := toml.Decode(string(text), &document); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	list := settled("settings", document.Settings, settingsKeys, aboutSettings)
	if tls, ok := document.Settings["tls"].(map[string]any); ok {
		list = append(list, settled("settings.tls", tls, tlsKeys, aboutTLS)...)
	}
	for _, name := range sortedKeys(document.Service) {
		table := toml.Key{"service", name}.String()
		list = append(list, settled(table, document.Service[name], serviceKeys, aboutService)...)
		if env, ok := document.Service[name]["env"].(map[string]any); ok {
			list = append(list, plain(table+".env", env)...)
		}
	}
	return append(list, plain("instances", document.Instances)...), nil
}

func settled[T any](table string, given map[string]any, keys []key[T], of map[string]about) (list []Setting) {
	for _, k := range keys {
		if slices.Contains([]string{"tls", "env"}, k.name) {
			continue // tables of their own
		}
		if v, ok := given[k.name]; ok {
			list = append(list, Setting{Table: table, Key: k.name, Value: v})
		} else if k.standard != nil {
			list = append(list, Setting{Table: table, Key: k.name, Value: k.standard, Default: true})
		} else if means := of[k.name].standard; means != "" && means != "required" {
			list = append(list, Setting{Table: table, Key: k.name, Default: true, Means: strings.ReplaceAll(means, "`", "")})
		}
	}
	return list
}

func plain(table string, given map[string]any) (list []Setting) {
	for _, name := range sortedKeys(given) {
		list = append(list, Setting{Table: table, Key: name, Value: given[name]})
	}
	return list
}
