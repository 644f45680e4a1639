package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError turns what pflag says into a sentence that names what is allowed.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		name := unknown.GetSpecifiedName()
		return fmt.Errorf("unknown flag --%s%s", name, didYouMean(name, known, "--"))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return refused(f, "--"+f.Name, invalid.GetValue(), invalid.Unwrap())
	case errors.As(err, &bare):
		if want := wanted(bare.GetFlag().Value.Type()); want != "" {
			return fmt.Errorf("--%s needs a value: wanted is %s", bare.GetFlag().Name, want)
		}
		return fmt.Errorf("--%s needs a value", bare.GetFlag().Name)
	}
	return err
}

// plainCobra rewrites the error that cobra has no type for.
func plainCobra(err error) error {
	if rest, ok := strings.CutPrefix(err.Error(), "required flag(s) "); ok {
		names := strings.TrimSuffix(rest, " not set")
		return fmt.Errorf("needed: --%s", strings.ReplaceAll(strings.ReplaceAll(names, `", "`, ", --"), `"`, ""))
	}
	return err
}
