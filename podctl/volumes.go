package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

func (c *cli) volumesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "volumes", Short: "Storage that pods mount", Args: cobra.NoArgs}
	cmd.AddCommand(
		c.volumesListCommand(), c.volumesCreateCommand(), c.volumesDeleteCommand(), c.volumesFilesCommand(),
		c.uploadCommand(), c.downloadCommand(),
	)
	return cmd
}

// completeVolumes offers the ids of volumes, for the first argument.
func (c *cli) completeVolumes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return c.complete(cmd, func(ctx context.Context, cl *client.Client) (names []string, err error) {
		list, err := cl.Volumes(ctx)
		for _, v := range list {
			names = append(names, v.VolumeID)
		}
		return names, err
	})
}

func (c *cli) volumesListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List your volumes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), c, http.MethodGet, "/pods/volumes", nil, func(list []client.Volume) error {
				return c.table("VOLUME\tSTATUS\tSIZE\tLIMIT\tDESCRIPTION", func(row func(...string)) {
					for _, v := range list {
						row(v.VolumeID, v.Status, fmt.Sprintf("%d MB", v.Size), fmt.Sprintf("%d MB", v.SizeLimit), v.Description)
					}
				})
			})
		},
	}
}

func (c *cli) volumesCreateCommand() *cobra.Command {
	var v client.NewVolume
	cmd := &cobra.Command{
		Use: "create VOLUME", Short: "Create a volume", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v.VolumeID = args[0]
			return show(cmd.Context(), c, http.MethodPost, "/pods/volumes", v, func(v client.Volume) error {
				fmt.Fprintf(c.out, "%s %s\n", v.VolumeID, plain(v.Status))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&v.Description, "description", "", "for people")
	cmd.Flags().IntVar(&v.SizeLimit, "size-limit", 0, "MB it may hold (default: as the service says)")
	return cmd
}

func (c *cli) volumesDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete VOLUME...", Short: "Delete volumes with what is in them",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.each(args, func(id string) error {
				return show(cmd.Context(), c, http.MethodDelete, client.VolumePath(id), nil, func(string) error {
					fmt.Fprintf(c.out, "%s deleted\n", id)
					return nil
				})
			})
		},
	}
}

func (c *cli) volumesFilesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "files VOLUME [FOLDER]", Short: "List the files of a volume",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: c.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := ""
			if len(args) == 2 {
				folder = args[1]
			}
			return show(cmd.Context(), c, http.MethodGet, client.FilesPath(args[0], folder), nil, func(list []client.File) error {
				return c.table("NAME\tTYPE\tSIZE\tCHANGED", func(row func(...string)) {
					for _, f := range list {
						row(f.Name, f.Type, bytesText(f.Size), f.LastModified)
					}
				})
			})
		},
	}
}

func (c *cli) uploadCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "up VOLUME FILE [PATH]",
		Short:   "Copy a file into a volume",
		Long:    "Copies a file into a volume, to a path there or under its own name. A path that ends with / is a folder.\nFolders on the way are made.",
		Example: "  podctl volumes up mydata results.csv\n  podctl volumes up mydata results.csv 2025/june/",
		Args:    cobra.RangeArgs(2, 3), ValidArgsFunction: c.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			target := ""
			if len(args) == 3 {
				target = args[2]
			}
			return c.upload(cmd.Context(), args[0], args[1], target)
		},
	}
}

func (c *cli) upload(ctx context.Context, volume, file, target string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at the file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", file)
	}
	if target == "" || strings.HasSuffix(target, "/") {
		target += filepath.Base(file)
	}
	bar := c.newProgress(path.Base(target), info.Size())
	err = cl.Upload(ctx, volume, target, bar.reader(f), info.Size())
	bar.end()
	if err != nil {
		return err
	}
	return c.transferred(volume, target, info.Size())
}

// transferred tells what was copied.
func (c *cli) transferred(volume, file string, size int64) error {
	if c.asJSON {
		return c.printJSON(map[string]any{"volume_id": volume, "path": file, "size": size})
	}
	fmt.Fprintf(c.out, "%s:%s %s\n", volume, file, bytesText(size))
	return nil
}

func (c *cli) downloadCommand() *cobra.Command {
	var output string
	var zip bool
	cmd := &cobra.Command{
		Use:     "download VOLUME PATH",
		Short:   "Copy a file, or a folder as a zip archive, out of a volume",
		Example: "  podctl volumes download mydata results.csv\n  podctl volumes download mydata 2025 --zip\n  podctl volumes download mydata a.txt -o - | wc",
		Args:    cobra.ExactArgs(2), ValidArgsFunction: c.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.download(cmd.Context(), args[0], args[1], output, zip)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; - for standard output (default: the name it has in the volume)")
	cmd.Flags().BoolVar(&zip, "zip", false, "a folder, as a zip archive")
	return cmd
}

func (c *cli) download(ctx context.Context, volume, file, output string, zip bool) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	content, size, err := cl.Download(ctx, volume, file, zip)
	if err != nil {
		return err
	}
	defer content.Close()
	if output == "" {
		output = path.Base(path.Clean("/" + file))
		if zip {
			output += ".zip"
		}
	}
	bar := c.newProgress(path.Base(file), size)
	defer bar.end()
	if output == "-" {
		_, err := io.Copy(c.out, bar.reader(content))
		return err
	}
	n, err := writeWhole(output, bar.reader(content))
	bar.end()
	if err != nil {
		return err
	}
	return c.transferred(volume, file, n)
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(file string, r io.Reader) (int64, error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".podctl-*")
	if err != nil {
		return 0, fmt.Errorf("writing the file: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	n, err := io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("writing the file: %w", err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return 0, fmt.Errorf("writing the file: %w", err)
	}
	return n, nil
}
