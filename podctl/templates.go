package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

func (c *cli) templatesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "templates [TEMPLATE]",
		Short: "List templates, or the tags of one",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return c.complete(cmd, templateNames)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return show(cmd.Context(), c, http.MethodGet, client.TagsPath(args[0]), nil, c.printTags)
			}
			return show(cmd.Context(), c, http.MethodGet, "/pods/templates", nil, c.printTemplates)
		},
	}
}

func templateNames(ctx context.Context, cl *client.Client) (names []string, err error) {
	list, err := cl.Templates(ctx)
	for _, t := range list {
		names = append(names, t.TemplateID)
	}
	return names, err
}

func (c *cli) printTemplates(list []client.Template) error {
	return c.table("TEMPLATE\tDESCRIPTION", func(row func(...string)) {
		for _, t := range list {
			row(t.TemplateID, t.Description)
		}
	})
}

func (c *cli) printTags(list []client.TemplateTag) error {
	return c.table("TAG\tUSE AS\tBY\tMESSAGE", func(row func(...string)) {
		for _, t := range list {
			row(t.Tag, t.TemplateID+":"+t.TagTimestamp, t.AddedBy, t.CommitMessage)
		}
	})
}

func (c *cli) imagesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "images", Short: "List the images that pods may run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), c, http.MethodGet, "/pods/images", nil, func(list []client.Image) error {
				return c.table("IMAGE\tTENANTS\tDESCRIPTION", func(row func(...string)) {
					for _, i := range list {
						row(i.Image, strings.Join(i.Tenants, ","), i.Description)
					}
				})
			})
		},
	}
}
