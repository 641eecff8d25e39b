// Command helm does what the chart's tests need of Helm, with Helm's own library and
// in a fraction of the time that it takes to build all of Helm:
//
//	helm template -namespace podway -kube-version 1.33.0 -set edge.kind=None podway deploy/chart
//	helm lint -set trial.enabled=true podway deploy/chart
//
// The first argument names the release. What it prints is what `helm template` prints;
// it lints as `helm lint --strict` does. It is a module of its own, so that the
// programs of Podway don't depend on Helm.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/strvals"
)

func main() {
	log.SetOutput(io.Discard) // Helm tells of each symbolic link of the chart
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

// release is what is to be made of the chart.
type release struct {
	name, namespace, dir string
	kube                 *chartutil.KubeVersion
	values               map[string]any
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: helm template|lint [flags] RELEASE CHART")
	}
	r, err := parse(args[1:])
	if err != nil {
		return err
	}
	switch args[0] {
	case "template":
		return r.template(out)
	case "lint":
		return r.lint()
	default:
		return fmt.Errorf("there is no command %q", args[0])
	}
}

func parse(args []string) (release, error) {
	r := release{values: map[string]any{}}
	flags := flag.NewFlagSet("helm", flag.ContinueOnError)
	flags.StringVar(&r.namespace, "namespace", "default", "the namespace of the release")
	kube := flags.String("kube-version", "1.33.0", "the version of Kubernetes")
	flags.Func("values", "a YAML file with values", func(path string) error {
		file, err := chartutil.ReadValuesFile(path)
		maps.Copy(r.values, file)
		return err
	})
	flags.Func("set", "a value, NAME=VALUE; repeatable", func(s string) error {
		return strvals.ParseInto(s, r.values)
	})
	if err := flags.Parse(args); err != nil {
		return r, err
	}
	if flags.NArg() != 2 {
		return r, errors.New("a release and a chart are wanted")
	}
	r.name, r.dir = flags.Arg(0), flags.Arg(1)
	var err error
	r.kube, err = chartutil.ParseKubeVersion(*kube)
	return r, err
}

// template prints the chart's objects in the order in which Helm creates them.
func (r release) template(out io.Writer) error {
	chart, err := loader.Load(r.dir)
	if err != nil {
		return fmt.Errorf("reading the chart: %w", err)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *r.kube
	options := chartutil.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(chart, r.values, options, capabilities)
	if err != nil {
		return err
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return err
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasSuffix(name, "NOTES.txt") })
	_, objects, err := releaseutil.SortManifests(files, capabilities.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return fmt.Errorf("reading what was rendered: %w", err)
	}
	var text strings.Builder
	for _, o := range objects {
		fmt.Fprintf(&text, "---\n# Source: %s\n%s\n", o.Name, o.Content)
	}
	_, err = fmt.Fprintln(out, strings.TrimSpace(text.String()))
	return err
}

// lint fails at warnings, too.
func (r release) lint() error {
	linter := lint.AllWithKubeVersion(r.dir, r.values, r.namespace, r.kube)
	var errs []error
	for _, m := range linter.Messages {
		if m.Severity >= support.WarningSev {
			errs = append(errs, m)
		}
	}
	return errors.Join(errs...)
}
