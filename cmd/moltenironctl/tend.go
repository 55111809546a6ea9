package main

import (
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/hook"
	"github.com/molteniron/molteniron/pkg/jenkins"
	"github.com/molteniron/molteniron/pkg/secret"
	"github.com/molteniron/molteniron/pkg/view"
)

func (a *app) tendCommand() *cobra.Command {
	var ask bool
	var confirm time.Duration
	format := cli.Choice{Value: "text", Allowed: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "tend",
		Short: "take back what is due; the one command to schedule",
		Long: `Do what nobody else may be there to do: make the releases that wait on this machine because the database was away
when their builds ended; take back what is due in every pool (leases that are over, by the pool's policy, what
clients that died had asked for, nodes whose cleaning took too long), and hand it to those who wait.
With --jenkins the configured controllers are asked first: what a build that has finished still holds is taken
back at once, a build in progress has its lease extended within the pool's max_lease, and a build of which
nothing is known keeps what it has to the end of its lease, and of the pool's grace where on_expiry is ask.
With --keep-history, or keep_history in the configuration, it removes events and ended allocations that are older,
in the first run of each day (UTC); a hook's least-privilege account may not.
It prints a line for each thing that it did, and nothing when there was nothing to do. Run it from cron, a
systemd timer or a Jenkins job; several at once are fine.`,
		Example: `  moltenironctl tend --jenkins --keep-history 90d
  */5 * * * * molteniron moltenironctl tend --jenkins        # in /etc/cron.d`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(129, 130, 143),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd, "outbox", "keep-history")
			if err != nil {
				return err
			}
			care := hook.Care{Confirm: confirm, Keep: s.Config.KeepHistory}
			if confirm < 0 {
				return cli.Usagef("--confirm-after %s: give a time, as in 10s", confirm)
			}
			if ask {
				if care.Jenkins, err = a.jenkins(s); err != nil {
					return err
				}
				defer care.Jenkins.Close()
			}
			out := a.output()
			var deeds []view.Deed
			var unwritten error
			care.Tell = func(d view.Deed) {
				deeds = append(deeds, d)
				if format.Value == "text" && unwritten == nil {
					_, unwritten = fmt.Fprintln(out, cli.Printable(d.Text))
				}
			}
			p := a.process(cmd, s)
			p.Database, p.Outbox = s.DatabaseURL, s.Outboxes()
			err = hook.Tend(cmd.Context(), p, care)
			if format.Value == "json" {
				unwritten = out.Data("json", deeds)
			}
			if err == nil {
				err = unwritten
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&ask, "jenkins", false, "ask the controllers of the configuration (key jenkins) whether builds are in progress")
	f.DurationVar(&confirm, "confirm-after", 10*time.Second, "`TIME` after which a build that seems to have finished is asked for once more")
	f.String("keep-history", "", "remove history that is older than this `AGE`, as in 90d (default: the configuration's keep_history, else all is kept)")
	f.String("outbox", "", "`FOLDER` where releases wait (default: the configuration's, else /var/lib/molteniron/outbox and ~/.local/state/molteniron/outbox)")
	f.VarP(&format, "output", "o", "`FORMAT`: text or json")
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

// jenkins makes the client for the controllers of the configuration.
func (a *app) jenkins(s cli.Settings) (*jenkins.Client, error) {
	if len(s.Config.Jenkins) == 0 {
		return nil, cli.Usagef("--jenkins: no controller is configured; write a line such as: jenkins: {url: \"https://ci.example.org/\", user: tender, token_file: /etc/molteniron/jenkins.token}")
	}
	var list []jenkins.Controller
	for _, j := range s.Config.Jenkins {
		c := jenkins.Controller{URL: j.URL, User: j.User}
		if j.TokenFile != "" {
			token, warning, err := secret.ReadFile(j.TokenFile)
			if err != nil {
				return nil, cli.Usagef("jenkins.token_file: %v", err)
			}
			if token.IsZero() {
				return nil, cli.Usagef("jenkins.token_file: %s is empty", j.TokenFile)
			}
			if warning != "" {
				s.Warn(warning)
			}
			if u, err := url.Parse(j.URL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
				s.Warn(fmt.Sprintf("the token for %s is sent in the clear; use https", j.URL))
			}
			c.Token = token
		}
		list = append(list, c)
	}
	c, err := jenkins.New(list)
	if err != nil {
		return nil, cli.Usagef("%v", err)
	}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
