package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// The files that Write makes.
const (
	FileProto = "topology.pb"
	FileJSON  = "topology.json"
)

// maxBytes is more than any topology's file has.
const maxBytes = 16 << 20

// Write writes both forms of t into dir, each whole or not at all. A file that
// holds the same already is left alone.
func Write(dir string, t *musterv1.Topology) error {
	binary, err := proto.MarshalOptions{Deterministic: true}.Marshal(t)
	if err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	text, err := JSON(t)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{FileProto, binary}, {FileJSON, text}} {
		path := filepath.Join(dir, f.name)
		if had, err := os.ReadFile(path); err == nil && bytes.Equal(had, f.data) {
			continue
		}
		if err := renameio.WriteFile(path, f.data, 0o644, renameio.WithTempDir(dir)); err != nil {
			return fmt.Errorf("topology: %w", err)
		}
	}
	return nil
}

// JSON is the JSON form of t, indented, the same bytes each time: protojson by
// itself varies its white space from one program to another.
func JSON(t *musterv1.Topology) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Read reads a topology: a file of either form, told apart by its first byte,
// or the directory that Write wrote to.
func Read(path string) (*musterv1.Topology, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	if info.IsDir() {
		t, err := Read(filepath.Join(path, FileProto))
		if errors.Is(err, fs.ErrNotExist) {
			return Read(filepath.Join(path, FileJSON))
		}
		return t, err
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("%s: %w: %d bytes, more than the %d of any", path, ErrInvalid, info.Size(), maxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse reads either form.
func Parse(data []byte) (*musterv1.Topology, error) {
	t := &musterv1.Topology{}
	var err error
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, t)
	} else {
		err = proto.Unmarshal(data, t)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return t, nil
}
