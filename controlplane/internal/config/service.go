package config

// Service is an account of Tapis for services. Without a password there is none.
type Service struct {
	Name     string // PODWAY_SERVICE_NAME. Default: "pods"
	Tenant   string // PODWAY_SERVICE_TENANT: the admin tenant of the site
	Password string // PODWAY_SERVICE_PASSWORD; secret
}

func (r *reader) service() Service {
	s := Service{
		Name:     r.str("PODWAY_SERVICE_NAME", "pods"),
		Tenant:   r.str("PODWAY_SERVICE_TENANT", ""),
		Password: r.str("PODWAY_SERVICE_PASSWORD", ""),
	}
	if (s.Tenant == "") != (s.Password == "") {
		r.bad("PODWAY_SERVICE_TENANT", "it and PODWAY_SERVICE_PASSWORD are set together, or not at all")
	}
	return s
}
