package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write thump's man pages",
		Long: `man writes a man page for each command into a folder, which it makes if it does not exist:
thump.1, thump-run.1 and so on. They say what --help says.
` + exitCodesHelp,
		Example: `  thump man ~/.local/share/man/man1
  man thump-run`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("%s needs a folder (see %[1]s --help)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			n, err := writeManPages(cmd.Context(), u, cmd.Root(), args[0])
			if err != nil {
				return err
			}
			u.printf("Wrote %d man pages to %s.\n", n, args[0])
			return nil
		},
	}
}

// writeManPages writes the page of a command, and of those below it, and returns how many
// those are.
func writeManPages(ctx context.Context, u *ui, cmd *cobra.Command, folder string) (n int, err error) {
	if !cmd.IsAvailableCommand() && cmd.HasParent() {
		return 0, nil
	}
	f, err := createFile(ctx, filepath.Join(folder, manName(cmd)+".1"), u.stdout, u.stderr)
	if err != nil {
		return 0, err
	}
	defer f.discard()
	err = f.fill(ctx, func(w io.Writer) error {
		_, err := io.WriteString(w, manPage(cmd))
		return err
	})
	if err != nil {
		return 0, err
	}
	n = 1
	for _, sub := range cmd.Commands() {
		more, err := writeManPages(ctx, u, sub, folder)
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the help of a command as a man page (groff_man(7)).
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	section := func(title, text string) {
		if text = strings.Trim(text, "\n"); text != "" {
			fmt.Fprintf(&b, ".SH %s\n.nf\n%s\n.fi\n", title, roff(text))
		}
	}
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"thump\" \"thump\"\n", roff(strings.ToUpper(manName(cmd))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	section("DESCRIPTION", cmd.Long)
	if cmd.HasAvailableFlags() {
		b.WriteString(".SH OPTIONS\n")
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) { b.WriteString(manOption(f)) })
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { b.WriteString(manOption(f)) })
	}
	section("EXAMPLES", cmd.Example)
	var also []string
	if cmd.HasParent() {
		also = append(also, manName(cmd.Parent()))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			also = append(also, manName(sub))
		}
	}
	if len(also) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s(1)\n", roff(strings.Join(also, "(1), ")))
	}
	return b.String()
}

func manOption(f *pflag.Flag) string {
	if f.Hidden {
		return ""
	}
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	kind, usage := pflag.UnquoteUsage(f)
	return fmt.Sprintf(".TP\n.B %s\n%s\n", roff(strings.TrimSpace(name+" "+kind)), roff(usage))
}

// roff is text that stands for itself in a man page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
