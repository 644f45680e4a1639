package settings

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// configFlag names the YAML file.
const configFlag = "config"

// EnvName returns the environment variable of a flag.
func EnvName(flag string) string {
	return "MUSTER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// load gives the flags of cmd that the command line left alone the values of
// the environment, and those that this leaves the values of the file.
func load(cmd *cobra.Command) error {
	fs := cmd.Flags()
	var err error
	fs.VisitAll(func(f *pflag.Flag) {
		value := os.Getenv(EnvName(f.Name))
		if err != nil || value == "" || f.Changed || !configurable(f) || f.Annotations[noEnvKey] != nil {
			return
		}
		err = set(fs, f, EnvName(f.Name), value)
	})
	if err != nil {
		return err
	}
	file := fs.Lookup(configFlag)
	if file == nil || file.Value.String() == "" {
		return nil
	}
	return loadFile(cmd, file.Value.String())
}

// configurable says whether f can be set other than on the command line.
func configurable(f *pflag.Flag) bool {
	return f.Name != "help" && f.Name != "version"
}

// loadFile applies the keys of a file to the flags not yet set. A key counts as
// known only where this command has such a flag, since it would have no effect
// elsewhere.
func loadFile(cmd *cobra.Command, path string) error {
	entries, err := readFile(path)
	if err != nil {
		return err
	}
	fs := cmd.Flags()
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		f := fs.Lookup(key)
		if f == nil || !configurable(f) || key == configFlag {
			return unknownKey(cmd, path, key)
		}
		if f.Changed {
			continue
		}
		if err := setEntry(fs, f, path+": "+key, entries[key]); err != nil {
			return err
		}
	}
	return nil
}

// unknownKey is the error for a key that is no flag of cmd.
func unknownKey(cmd *cobra.Command, path, key string) error {
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if configurable(f) && f.Name != configFlag && !f.Hidden {
			known = append(known, f.Name)
		}
	})
	if owner := ownerOf(cmd.Root(), key); owner != "" {
		return fmt.Errorf("%s: key %q is a setting of '%s', not of '%s'", path, key, owner, cmd.CommandPath())
	}
	return fmt.Errorf("%s: unknown key %q%s", path, key, didYouMean(key, known, ""))
}

// ownerOf returns the first command under cmd that has the flag, or "".
func ownerOf(cmd *cobra.Command, name string) string {
	for _, c := range cmd.Commands() {
		if f := c.Flags().Lookup(name); f != nil && configurable(f) && name != configFlag {
			return c.CommandPath()
		}
		if owner := ownerOf(c, name); owner != "" {
			return owner
		}
	}
	return ""
}

// setEntry sets f to an entry of a file.
func setEntry(fs *pflag.FlagSet, f *pflag.Flag, origin string, e entry) error {
	switch e.kind {
	case scalar:
		return set(fs, f, origin, e.text)
	case list:
		slice, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return fmt.Errorf("%s: one value is expected, not a list", origin)
		}
		if err := slice.Replace(e.items); err != nil {
			return refused(f, origin, strings.Join(e.items, ", "), err)
		}
		// Only FlagSet.Set marks a flag as given, and takes no list.
		f.Changed = true
		annotate(f, originKey, origin)
		return nil
	case empty:
		return fmt.Errorf("%s: the value is missing", origin)
	}
	return fmt.Errorf("%s: a value or a list is expected, not nested keys", origin)
}

// set sets f to value and remembers where that came from.
func set(fs *pflag.FlagSet, f *pflag.Flag, origin, value string) error {
	if err := fs.Set(f.Name, value); err != nil {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) {
			err = invalid.Unwrap()
		}
		return refused(f, origin, value, err)
	}
	annotate(f, originKey, origin)
	return nil
}

// refused says that f does not take value, and what it takes.
func refused(f *pflag.Flag, origin, value string, cause error) error {
	if want := wanted(f.Value.Type()); want != "" {
		if errors.Is(cause, strconv.ErrRange) {
			return fmt.Errorf("%s %q: the number is too large; wanted is %s", origin, value, want)
		}
		return fmt.Errorf("%s %q: wanted is %s", origin, value, want)
	}
	return fmt.Errorf("%s %q: %w", origin, value, cause)
}

// wanted describes what flags of a type take; "" for types with parsers of
// their own, whose errors say it.
func wanted(kind string) string {
	switch kind {
	case "int", "int8", "int16", "int32", "int64":
		return "a whole number"
	case "uint", "uint8", "uint16", "uint32", "uint64":
		return "a whole number from 0 up"
	case "intSlice", "int32Slice", "int64Slice":
		return "a list of whole numbers such as 0,1"
	case "uintSlice":
		return "a list of whole numbers from 0 up such as 0,1"
	case "float32", "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 90s or 1h30m"
	}
	return ""
}
