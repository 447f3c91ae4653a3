package main

import (
	"context"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/cmd/thump/internal/places"
	"github.com/thumpmq/thump/internal/management"
	"github.com/thumpmq/thump/internal/printable"
)

func completionCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Write what makes a shell complete thump's commands, flags and names",
		Long: `completion writes a script for a shell, which then completes thump's commands and flags, and
the names of queues, streams and places. Those of queues and streams come from the
management API of the broker that the command line or the environment names; where it
does not answer within 2 s, nothing is completed. No password command is run for it.
` + exitCodesHelp,
		Example: `  source <(thump completion bash)        in bash, which needs the package bash-completion
  source <(thump completion zsh)         in zsh, after: autoload -U compinit; compinit
  thump completion fish | source         in fish
  thump completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			shells := map[string]func(io.Writer) error{
				"bash":       func(w io.Writer) error { return cmd.Root().GenBashCompletionV2(w, true) },
				"zsh":        cmd.Root().GenZshCompletion,
				"fish":       func(w io.Writer) error { return cmd.Root().GenFishCompletion(w, true) },
				"powershell": cmd.Root().GenPowerShellCompletionWithDesc,
			}
			if len(args) != 1 || shells[args[0]] == nil {
				return usagef("%s needs a shell: bash, zsh, fish or powershell", cmd.CommandPath())
			}
			return shells[args[0]](u.stdout)
		},
	}
}

// completionTimeout is how long a shell waits for names.
const completionTimeout = 2 * time.Second

// completeNames lets shells complete the names of queues, streams, exchanges and places: in each
// command that connects, where its usage line says QUEUE, STREAM or the like, and in the flags that
// take such a name. What can't be found out in a moment is not completed, and nothing is
// said about it.
func completeNames(u *ui, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		completeNames(u, sub)
	}
	if cmd.Flags().Lookup("url-file") == nil {
		return // it connects to nothing
	}
	complete := func(flag string, f cobra.CompletionFunc) {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, f) // which fails for a flag that has one
		}
	}
	complete("at", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		list, _ := places.Read()
		return list.Names(), cobra.ShellCompDirectiveNoFileComp
	})
	complete("queue", nameCompletion(u, func([]string) string { return "QUEUE" }))
	complete("stream", nameCompletion(u, func([]string) string { return "STREAM" }))
	for _, flag := range []string{"exchange", "to-exchange", "dead-letter-exchange", "alternate-exchange"} {
		complete(flag, nameCompletion(u, func([]string) string { return "EXCHANGE" }))
	}
	words := strings.Fields(cmd.Use)[1:]
	if cmd.ValidArgsFunction == nil && len(words) > 0 {
		cmd.ValidArgsFunction = nameCompletion(u, func(args []string) string { return wordAt(words, len(args)) })
	}
}

// wordAt is what a usage line calls an argument. The last one may stand for several.
func wordAt(words []string, i int) string {
	last := len(words) - 1
	switch {
	case i <= last:
		return words[i]
	case strings.Contains(words[last], "..."):
		return words[last]
	}
	return ""
}

// meant says what a word of a usage line stands for, as "[QUEUE|STREAM]" does.
func meant(word string) (queues, streams, exchanges, file bool) {
	for _, w := range strings.FieldsFunc(word, func(r rune) bool { return !unicode.IsUpper(r) }) {
		switch w {
		case "QUEUE":
			queues = true
		case "STREAM":
			streams = true
		case "EXCHANGE":
			exchanges = true
		case "FROM", "TO", "TARGET", "DLQ", "NAME":
			queues, streams = true, true
		case "FILE", "FOLDER":
			file = true
		}
	}
	return queues, streams, exchanges, file
}

// nameCompletion completes names of what the word says: QUEUE, STREAM, or both; or EXCHANGE.
func nameCompletion(u *ui, word func(args []string) string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		queues, streams, exchanges, file := meant(word(args))
		switch {
		case file:
			return nil, cobra.ShellCompDirectiveDefault
		case !queues && !streams && !exchanges:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		names, _ := interruptibly(ctx, func() ([]string, error) {
			if exchanges {
				return exchangeNames(ctx, u, cmd, begin)
			}
			return queueNames(ctx, u, cmd, begin, func(kind string) bool { return kind == kindStream && streams || kind != kindStream && queues })
		})
		var list []string
		for _, name := range names {
			// A name that needs escaping for a terminal is nothing to type.
			if strings.HasPrefix(name, begin) && printable.Text(name) == name {
				list = append(list, name)
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// queueNames asks the management API for the names of queues and streams.
func queueNames(ctx context.Context, u *ui, cmd *cobra.Command, part string, of func(kind string) bool) ([]string, error) {
	api, vhost, err := quietManagement(ctx, u, cmd)
	if err != nil {
		return nil, err
	}
	queues, err := api.Named(ctx, vhost, part)
	var names []string
	for _, q := range queues {
		if of(q.Kind) {
			names = append(names, q.Name)
		}
	}
	return names, err
}

// exchangeNames asks the management API for the names of exchanges.
func exchangeNames(ctx context.Context, u *ui, cmd *cobra.Command, part string) ([]string, error) {
	api, vhost, err := quietManagement(ctx, u, cmd)
	if err != nil {
		return nil, err
	}
	exchanges, err := api.Exchanges(ctx, vhost, part)
	var names []string
	for _, e := range exchanges {
		if e.Name != "" {
			names = append(names, e.Name)
		}
	}
	return names, err
}

// quietManagement is the management API of the broker that the flags, or the environment, name.
func quietManagement(ctx context.Context, u *ui, cmd *cobra.Command) (api *management.Client, vhost string, err error) {
	value := func(flag string) string {
		if f := cmd.Flags().Lookup(flag); f != nil {
			return f.Value.String()
		}
		return ""
	}
	m := manage{u: u, managementURL: value("management-url")}
	m.connect.at, m.connect.url, m.connect.file, m.connect.command = value("at"), value("url"), value("url-file"), value("url-command")
	u.unattended = true
	u.stderr.redirect(io.Discard)
	s := manager{manage: &m}
	if s.target, err = m.connect.target(ctx, u); err != nil {
		return nil, "", err
	}
	return s.management()
}
