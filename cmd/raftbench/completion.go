package main

import (
	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/bench/load"
	"github.com/ringraft/ringraft/bench/rings"
	"github.com/ringraft/ringraft/journal"
)

// known are flags whose values are a few words, in whatever command they are.
var known = map[string][]string{
	"journal":       journal.Modes(),
	"modes":         journal.Modes(),
	"preallocation": journal.Preallocations(),
	"pipeline":      {"parallel", "serial"},
	"threads":       {"fused", "threaded"},
	"driver":        {load.DriverLoop, load.DriverGoroutine},
	"shape":         rings.Shapes(),
	"wait":          {"park", "adaptive", "yield", "spin"},
}

// completeValues has shells complete the values of the known flags of a command.
func completeValues(c *cobra.Command) error {
	for flag, values := range known {
		if c.Flags().Lookup(flag) == nil {
			continue
		}
		if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values,
			cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	return nil
}
