package podway

import "github.com/tapis-project/podway/sni"

// SetAdmit sets what decides who may pass to TCP routes behind a login. The handler
// that decides it for requests calls it when it is provisioned.
func (a *App) SetAdmit(f sni.Admit) { a.admit = f }

// Admit returns what decides who may pass to TCP routes behind a login, nil if
// nothing does. It is known once the configuration is provisioned.
func (a *App) Admit() sni.Admit { return a.admit }
