package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/cmd/raftd/settings"
)

// environment begins the names of settings in the environment.
const environment = "RAFTD_"

// bindAll makes the flags of a command all settings.
func (o *options) bindAll(cmd *cobra.Command) {
	o.bind(cmd.Flags())
	o.settings = settings.New(cmd.Flags(), environment)
	completeValues(cmd, o.settings)
}

// load takes what the environment and the file have. The error has a line for each mistake.
func (o *options) load(environ []string) error {
	if mistakes := o.settings.Load(environ); len(mistakes) > 0 {
		return &usageError{errors.Join(mistakes...)}
	}
	return nil
}

// placedError is an error of options that come from several sources: explain names the source.
type placedError struct {
	err      error
	settings *settings.Set
}

func (e *placedError) Error() string { return e.err.Error() }
func (e *placedError) Unwrap() error { return e.err }

func (o *options) placed(err error) error {
	if err == nil {
		return nil
	}
	return &placedError{err, o.settings}
}

// file is where settings come from beside flags and the environment; "": there is none.
func (o *options) file() string {
	if o.settings == nil {
		return ""
	}
	return o.settings.Lookup(settings.FileFlag).Value()
}

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the settings that raftd would run with",
		Long: `These verbs take the flags of raftd, read the environment and the file as raftd does,
and start nothing.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is not a verb of raftd config; see raftd config --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(), newConfigShow())
	return cmd
}

func newConfigCheck() *cobra.Command {
	o := defaults()
	cmd := &cobra.Command{
		Use:   "check [flags of raftd]",
		Short: "Find every mistake in the settings",
		Long: `Finds every mistake in the flags, in the environment and in the file, and prints each
on a line of its own. It looks at the settings only: not whether ports are free, or what is in
the data directory.

Exit status: 0 there is none, 2 there are some.`,
		Example: "  raftd config check --config raftd.toml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if mistakes := o.mistakes(os.Environ()); len(mistakes) > 0 {
				return &usageError{errors.New(strings.Join(mistakes, "\n"))}
			}
			return nil
		},
	}
	o.bindAll(cmd)
	return cmd
}

// mistakes are all that can be found without a start. Of those that no source can be blamed for by
// itself, as two settings that do not go together, the first is told; then that setting is taken
// to be its default, to find the next.
func (o *options) mistakes(environ []string) (list []string) {
	for _, err := range o.settings.Load(environ) {
		list = append(list, err.Error())
	}
	var wrong []string // these stand at their defaults since
	for _, s := range o.settings.All() {
		if s.Wrong {
			wrong = append(wrong, s.Name)
		}
	}
	for {
		err := o.trial()
		if err == nil {
			return list
		}
		text := explain(err)
		blamed, _ := o.settings.Blamed(text)
		follows := slices.ContainsFunc(wrong, func(name string) bool {
			return (blamed == nil || blamed.Name != name) && strings.Contains(text, "--"+name)
		})
		switch {
		case blamed == nil:
			return append(list, text)
		case slices.Contains(wrong, blamed.Name):
			return list // it was told, and cannot be mended by the default
		case !follows:
			list = append(list, o.settings.Explain(text))
		}
		if o.settings.Reset(blamed) != nil {
			return list // its default cannot be read: there is no next one to be found
		}
		wrong = append(wrong, blamed.Name)
	}
}

// trial is a start up to where something would be taken.
func (o *options) trial() error {
	own := *o
	p, err := own.resolve()
	if err != nil {
		return err
	}
	d, err := prepare(p)
	if err != nil {
		return err
	}
	return d.builder().Check()
}

// shown is a setting as config show --json prints it.
type shown struct {
	Name        string `json:"name"`
	Value       string `json:"value"`
	Source      string `json:"source"` // default, file, environment or flag
	Where       string `json:"where"`
	Default     string `json:"default"`
	Environment string `json:"environment"`
}

func newConfigShow() *cobra.Command {
	var asJSON, asDefaults bool
	o := defaults()
	cmd := &cobra.Command{
		Use:   "show [flags of raftd]",
		Short: "Print every setting, its value, and where that comes from",
		Long: `Prints every setting, its value, and where that comes from: a flag, a variable of the
environment, a line of the file, or the default. What CONFIG SET has changed in a running
member is shown by CONFIG GET.`,
		Example: "  raftd config show --config raftd.toml\n" +
			"  raftd config show --defaults > raftd.toml",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asDefaults {
				return o.settings.WriteDefaults(cmd.OutOrStdout(), defaultsFront)
			}
			if err := o.load(os.Environ()); err != nil {
				return err
			}
			return showSettings(cmd.OutOrStdout(), o.settings.All(), asJSON)
		},
	}
	o.bindAll(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	cmd.Flags().BoolVar(&asDefaults, "defaults", false,
		"print a file with all settings as comments, to begin one with; other sources do not count")
	return cmd
}

const defaultsFront = `Settings of raftd: raftd --config FILE, or RAFTD_CONFIG=FILE in the
environment.
What stands here are the defaults. To change one, remove its # and write another value.
Bytes may have a unit, as "64MiB"; durations are written as "250ms", "10s" or "2m".
raftd config check --config FILE finds mistakes.`

func showSettings(w io.Writer, all []*settings.Setting, asJSON bool) error {
	list := make([]shown, 0, len(all))
	for _, s := range all {
		list = append(list, shown{Name: s.Name, Value: s.Value(), Source: s.Source.Kind.String(),
			Where: s.Where(), Default: s.Default(), Environment: s.Environment})
	}
	if asJSON {
		return json.NewEncoder(w).Encode(list)
	}
	p := &printer{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	p.line("SETTING\tVALUE\tFROM")
	for _, s := range list {
		value := s.Value
		if value == "" {
			value = "-"
		}
		p.line("%s\t%s\t%s", s.Name, value, s.Where)
	}
	if p.err == nil {
		p.err = p.w.(*tabwriter.Writer).Flush()
	}
	return p.err
}
