package main

import (
	_ "embed"

	"github.com/spf13/cobra"
)

// licenses has the licence of everything that the command is made of, on every system.
// The test of this file writes it.
//
//go:embed licenses.txt
var licenses string

func licensesCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "licenses",
		Short: "Print the licences of thump and of everything it contains",
		Long: `licenses prints the licences of thump, of the packages that are part of it, and of
Go. Whoever passes the program on passes these on with it.
` + exitCodesHelp,
		Example: `  thump licenses > LICENSES`,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			u.printf("%s", licenses)
			return nil
		},
	}
}
