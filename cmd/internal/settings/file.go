package settings

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v2"
)

// entryKind is what an entry of a file holds.
type entryKind int

const (
	empty  entryKind = iota // no value, or null
	scalar                  // text
	list                    // items
	nested                  // keys below keys, or lists of them
)

// entry is the value of one key. The text is as written: "off" stays "off"
// and 1e-3 stays 1e-3, since the flag's own parser reads it.
type entry struct {
	kind  entryKind
	text  string
	items []string
}

// UnmarshalYAML takes a scalar or a list of scalars; whatever else there is
// becomes nested, so that the error can name the key.
func (e *entry) UnmarshalYAML(unmarshal func(any) error) error {
	var items []string
	switch {
	case unmarshal(&e.text) == nil:
		e.kind = scalar
	case unmarshal(&items) == nil:
		e.kind, e.items = list, items
	default:
		e.kind = nested
	}
	return nil
}

// readFile returns the entries of a YAML file by key.
func readFile(path string) (map[string]entry, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	entries := map[string]entry{}
	if err := yaml.UnmarshalStrict(text, &entries); err != nil {
		return nil, fmt.Errorf("%s: %s", path, plainYAML(err))
	}
	return entries, nil
}

// plainYAML is the library's error without its name and line breaks.
func plainYAML(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	s = strings.TrimPrefix(s, "unmarshal errors:\n  ")
	if strings.Contains(s, "cannot unmarshal") {
		return "a list of 'key: value' lines is expected"
	}
	return s
}
