package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// flagVariables are the flags whose default is in the environment, under their name:
// --give-up in THUMP_GIVE_UP. They are settings of a user or a machine. Those that say what
// one command is to do are not among them.
func flagVariables() []string {
	return []string{"give-up", "no-recovery", "quiet"}
}

// variableOf is the variable of a flag.
func variableOf(flag string) string {
	return "THUMP_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readVariables sets the flags that were not given, and that the environment has a value for.
func readVariables(cmd *cobra.Command) error {
	for _, name := range flagVariables() {
		flag, variable := cmd.Flags().Lookup(name), variableOf(name)
		value := os.Getenv(variable)
		if flag == nil || flag.Changed || value == "" {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return fmt.Errorf("%s is %q: %w", variable, value, err)
		}
	}
	return nil
}
