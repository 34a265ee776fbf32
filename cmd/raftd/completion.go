package main

import (
	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/cmd/raftd/settings"
)

// completeValues has shells complete the values of settings, which raftd completion makes a script
// for: those that are known, and names of files and directories only where they are meant.
func completeValues(cmd *cobra.Command, s *settings.Set) {
	for _, x := range s.All() {
		switch {
		case x.IsPath():
		case x.IsDirectory():
			complete(cmd, x.Name, func(*cobra.Command, []string, string) ([]string,
				cobra.ShellCompDirective) {
				return nil, cobra.ShellCompDirectiveFilterDirs
			})
		case x.IsText() && len(x.Choices()) == 0: // it may name a file
		default:
			complete(cmd, x.Name, oneOf(x.Choices()...))
		}
	}
}

// oneOf completes one of the values, and nothing else.
func oneOf(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

// complete completes the values of a flag that the command has: anything else is a mistake of the
// program.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}
