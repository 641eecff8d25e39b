package main

import (
	_ "embed"
	"fmt"
)

//go:embed api.md.tmpl
var apiText string

// apiTable returns the figures as a Markdown table.
func apiTable(figures []apiFigures) string {
	head := row{"store", "request", "median", "p99", "requests/s", "requests per CPU second", "CPU of the database"}
	var rows []row
	for _, f := range figures {
		database := "in the control plane's"
		if f.StoreCPU > 0 {
			database = fmt.Sprintf("%.2f ms each", 1000*f.StoreCPU)
		}
		rows = append(rows, row{
			f.Store, f.Request, milli(f.Took.P50), milli(f.Took.P99),
			fmt.Sprintf("%.0f", f.Rate), fmt.Sprintf("%.0f", f.PerCPU), database,
		})
	}
	return aligned(head, rows)
}

// apiSection returns the part of the report about the API alone.
func apiSection(o options, m machine, figures []apiFigures) (section, error) {
	return newSection("api", apiText, map[string]any{
		"Pods": o.api, "Clients": apiClients, "For": apiFor, "Page": apiPage,
		"Processors": m.Processors, "Memory": fmt.Sprintf("%.0f", m.MemoryGiB), "Load": fmt.Sprintf("%.1f", m.Load),
		"Table": apiTable(figures),
	})
}
