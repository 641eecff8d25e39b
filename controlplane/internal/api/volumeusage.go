package api

import (
	"cmp"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// defaultUsage is how many measurements of one volume are shown.
const defaultUsage = 100

// getUsage answers with the sizes of a volume as they were measured, newest first.
func (s *server) getUsage(r *request) (answer, error) {
	limit, err := r.queryInt("limit", 1, pods.MaxUsage)
	if err != nil {
		return answer{}, err
	}
	usage, err := s.Store.VolumeUsage(r.Context(), r.volume.VolumeKey, cmp.Or(limit, defaultUsage))
	if err != nil {
		return answer{}, err
	}
	return s.usageAnswer(r.volume.Kind, usage, nil), nil
}

// listUsage answers with the sizes of all volumes that the caller may read; in
// admin mode of all of the tenant.
func listUsage(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		limit, err := r.queryInt("limit_per", 1, pods.MaxUsage)
		if err != nil {
			return answer{}, err
		}
		list, metadata, err := s.visibleVolumes(r, k)
		if err != nil {
			return answer{}, err
		}
		var all []pods.VolumeUsage
		unmeasured := []string{}
		for _, v := range list {
			usage, err := s.Store.VolumeUsage(r.Context(), v.VolumeKey, cmp.Or(limit, 1))
			if err != nil {
				return answer{}, err
			}
			if len(usage) == 0 {
				unmeasured = append(unmeasured, v.ID)
			}
			all = append(all, usage...)
		}
		a := s.usageAnswer(k, all, unmeasured)
		if admin, ok := metadata["admin_context"]; ok {
			a.metadata["admin_context"] = admin
		}
		return a, nil
	}
}

// usageAnswer renders measured sizes.
func (s *server) usageAnswer(k pods.Kind, usage []pods.VolumeUsage, unmeasured []string) answer {
	var last pods.Timestamp
	warnings := []string{}
	newest := map[string]bool{}
	for _, u := range usage {
		if at := pods.At(u.MeasuredAt); at.Time().After(last.Time()) {
			last = at
		}
		if !newest[u.ID] && u.OverLimit() {
			warnings = append(warnings, titles[k]+" "+u.ID+" holds more than its size_limit.")
		}
		newest[u.ID] = true
	}
	return answer{
		message: titles[k] + " usage retrieved successfully.",
		result:  viewsOf(usage, func(u pods.VolumeUsage) pods.UsageView { return pods.NewUsageView(u, s.Settings.Site) }),
		metadata: map[string]any{
			"last_measured_at": last, "unmeasured": append([]string{}, unmeasured...), "warnings": warnings,
		},
	}
}
