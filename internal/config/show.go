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
}

// TOML is the setting as a line of TOML.
func (s Setting) TOML() string {
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	if err := e.Encode(map[string]any{s.Key: s.Value}); err != nil {
		return fmt.Sprintf("# %s: %v", s.Key, err) // no value that was decoded gets here
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Show gives what holds by the file at path, in the order of the reference: what the file
// has and the defaults of the rest. Keys without either are left out. The error is that of
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
	list := settled("settings", document.Settings, settingsKeys)
	if tls, ok := document.Settings["tls"].(map[string]any); ok {
		list = append(list, settled("settings.tls", tls, tlsKeys)...)
	}
	for _, name := range sortedKeys(document.Service) {
		table := toml.Key{"service", name}.String()
		list = append(list, settled(table, document.Service[name], serviceKeys)...)
		if env, ok := document.Service[name]["env"].(map[string]any); ok {
			list = append(list, plain(table+".env", env)...)
		}
	}
	return append(list, plain("instances", document.Instances)...), nil
}

func settled[T any](table string, given map[string]any, keys []key[T]) (list []Setting) {
	for _, k := range keys {
		if slices.Contains([]string{"tls", "env"}, k.name) {
			continue // tables of their own
		}
		if v, ok := given[k.name]; ok {
			list = append(list, Setting{table, k.name, v, false})
		} else if k.standard != nil {
			list = append(list, Setting{table, k.name, k.standard, true})
		}
	}
	return list
}

func plain(table string, given map[string]any) (list []Setting) {
	for _, name := range sortedKeys(given) {
		list = append(list, Setting{table, name, given[name], false})
	}
	return list
}
