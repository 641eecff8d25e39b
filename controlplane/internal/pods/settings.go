package pods

import "cmp"

// Settings are the operator's choices that validation and defaults depend on.
type Settings struct {
	Site string

	// Default are the resources of a pod that sets none, Min and Max the bounds
	// a user may choose within.
	Default, Min, Max Resources

	// ComputeQueues are the names a user may choose.
	ComputeQueues []string

	// ShortestPodID is how many characters a pod id has at least. Zero: 3, as in
	// the public service.
	ShortestPodID int

	// ImageAllowList holds the images the operator allows for every tenant, as
	// [CanonicalImage] returns them.
	ImageAllowList []string

	// MainTenants are those that "*" in an image's tenants stands for.
	MainTenants []string

	// AdminTenants are those whose admins may change what all tenants of the site
	// share: the list of images and the built-in templates. Empty: all tenants.
	AdminTenants []string

	// BaseDomains are names of the installation: neither they nor what is below can
	// be a custom domain, as can't what is below the tenant's own.
	BaseDomains []string

	// MaxVolumeSize bounds the size limit that a user may give a volume, in MiB.
	// Zero: 102400, which is 100 GiB.
	MaxVolumeSize int
}

// maxVolumeSize returns MaxVolumeSize or its default.
func (s Settings) maxVolumeSize() int { return cmp.Or(s.MaxVolumeSize, 100<<10) }

// shortestPodID returns ShortestPodID or its default.
func (s Settings) shortestPodID() int { return cmp.Or(s.ShortestPodID, minID) }

// DefaultSettings returns the settings of the public service.
func DefaultSettings() Settings {
	return Settings{
		Site:          "dev",
		Default:       Resources{CPURequest: 250, CPULimit: 2000, MemRequest: 256, MemLimit: 3072},
		Min:           Resources{CPURequest: 250, CPULimit: 250, MemRequest: 256, MemLimit: 256},
		Max:           Resources{CPURequest: 6000, CPULimit: 6000, MemRequest: 12288, MemLimit: 12288, GPUs: 1},
		ComputeQueues: []string{"default"},
		MainTenants:   []string{"tacc", "icicleai", "icicle", "dev", "astria", "a2cps", "scoped"},
	}
}
