package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
)

// The parts of a CycloneDX 1.5 document that are used here.
type (
	document struct {
		Format      string      `json:"bomFormat"`
		SpecVersion string      `json:"specVersion"`
		Version     int         `json:"version"`
		Metadata    metadata    `json:"metadata"`
		Components  []component `json:"components"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		PURL       string     `json:"purl,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// bill returns the bill of materials of a Go program, from what the compiler wrote
// into it. It holds no time and no random number.
func bill(program string, p product, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("reading what the program consists of: %w", err)
	}
	d := document{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	purl := "pkg:golang/" + info.Main.Path + "@" + version
	d.Metadata.Component = component{
		Type: "application", Ref: purl + "#" + p.program, Name: p.program, Version: version, PURL: purl,
		Properties: []property{{Name: "go:package", Value: info.Path}},
	}
	d.Components = append(d.Components, moduleOf(&debug.Module{Path: "stdlib", Version: info.GoVersion}))
	for _, m := range info.Deps {
		d.Components = append(d.Components, moduleOf(m))
	}
	slices.SortFunc(d.Components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	out, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	return append(out, '\n'), nil
}

func moduleOf(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	c := component{Type: "library", Name: m.Path, Version: m.Version}
	c.PURL = "pkg:golang/" + m.Path + "@" + m.Version
	c.Ref = c.PURL
	if m.Sum != "" {
		c.Properties = []property{{Name: "go:sum", Value: m.Sum}}
	}
	return c
}
