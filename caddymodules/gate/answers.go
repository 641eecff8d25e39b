package gate

import (
	"net/http"
	"net/url"

	"github.com/tapis-project/podway/caddymodules/pages"
)

// The answers that are always the same.
var (
	pageDenied = pages.Page{
		Status: http.StatusForbidden, Kind: pages.Fail, Title: "You may not open this pod",
		Text:  "You are logged in, but the owner of this pod has not given you access. Ask the owner for it.",
		Links: []pages.Link{{URL: loginPath, Text: "Use another account"}, {URL: logoutPath, Text: "Log out", Plain: true}},
	}
	pageBadToken = pages.Page{
		Status: http.StatusForbidden, Kind: pages.Fail, Title: "Not authenticated",
		Text: "The Tapis token of this request is not valid here. Get a new one, or leave it out and log in.",
	}
	pageUnauthorized = pages.Page{
		Status: http.StatusUnauthorized, Kind: pages.Ask, Title: "Login required",
		Text:  "Send a Tapis token in the header X-Tapis-Token, or log in with a browser.",
		Links: []pages.Link{{URL: loginPath, Text: "Log in with Tapis"}},
	}
	pageForeignOrigin = pages.Page{
		Status: http.StatusForbidden, Kind: pages.Fail, Title: "Request from another site",
		Text: "A page of another site sent this request. Only pages of this pod may do that.",
	}
	pageUnavailable = pages.Page{
		Status: http.StatusServiceUnavailable, Kind: pages.Wait, Title: "Login is not available",
		Text: "It can't be checked right now who you are. That should be over soon.", Refresh: pages.RefreshSeconds,
	}
	pageTooManyLogins = pages.Page{
		Status: http.StatusTooManyRequests, Kind: pages.Wait, Title: "Too many logins",
		Text: "There were many logins from your address. Wait a minute and try again.", Refresh: 60,
	}
	pageTooManyTries = pages.Page{
		Status: http.StatusTooManyRequests, Kind: pages.Stop, Title: "Too many tries",
		Text:  "Wait a minute before you try again.",
		Links: []pages.Link{{URL: sharePath, Text: "Try again"}},
	}
	pageLoginAgain = pages.Page{
		Status: http.StatusBadRequest, Kind: pages.Stop, Title: "Please log in again",
		Text:  "This login took too long, was used already, or was begun in another browser. If it happens again, allow cookies for this site.",
		Links: []pages.Link{{URL: loginPath, Text: "Log in"}, {URL: "/", Text: "Go to the pod", Plain: true}},
	}
	pageBadForm = pages.Page{
		Status: http.StatusBadRequest, Kind: pages.Stop, Title: "That was not understood",
		Text:  "The form did not arrive as it should.",
		Links: []pages.Link{{URL: sharePath, Text: "Try again"}},
	}
	pageNoSuchPath = pages.Page{
		Status: http.StatusNotFound, Kind: pages.Stop, Title: "Nothing is here",
		Text:  "Addresses below /.podway/ are not the pod's.",
		Links: []pages.Link{{URL: "/", Text: "Go to the pod"}},
	}
	pageMethod = pages.Page{
		Status: http.StatusMethodNotAllowed, Kind: pages.Fail, Title: "Method not allowed",
		Text: "This address is asked for in another way.",
	}
)

// pageChoice lets somebody choose how to pass, where there is more than one way.
func (x *visit) pageChoice(wanted string) pages.Page {
	return pages.Page{
		Status: http.StatusUnauthorized, Kind: pages.Ask, Title: "This pod is not public", Host: x.host,
		Text: "Log in, or use the password that its owner gave you.",
		Links: []pages.Link{
			{URL: loginPath + "?return=" + url.QueryEscape(wanted), Text: "Log in with Tapis"},
			{URL: sharePath, Text: "I have a password", Plain: true},
		},
		Note: "If you got a link from the owner, open that link.",
	}
}

// pageSharePassword asks for a password; problem says what was wrong with the
// last one.
func (x *visit) pageSharePassword(problem string) pages.Page {
	p := pages.Page{
		Status: http.StatusUnauthorized, Kind: pages.Ask, Title: "This pod is not public", Host: x.host,
		Text:    "Enter the password that its owner gave you.",
		Problem: problem,
		Forms:   []pages.Form{{Action: sharePath, Password: "Password", Button: "Open the pod"}},
		Note:    "If you got a link from the owner, open that link.",
	}
	if x.e.Gate != nil {
		p.Links = []pages.Link{{URL: loginPath, Text: "Log in with Tapis", Plain: true}}
	}
	return p
}

// pageConfirmShare asks whether to use a link.
func pageConfirmShare(host, secret string) pages.Page {
	return pages.Page{
		Status: http.StatusOK, Kind: pages.Ask, Title: "You are invited", Host: host,
		Text:  "The owner of this pod shares it with you.",
		Forms: []pages.Form{{Action: sharePath, Hidden: []pages.Field{{Name: "t", Value: secret}}, Button: "Open the pod"}},
	}
}

// pageBadLink says why a link does not work.
func pageBadLink(problem string) pages.Page {
	if problem == problemWrong {
		problem = "This link is not right. Copy all of it, or ask the owner of the pod for a new one."
	}
	return pages.Page{
		Status: http.StatusUnauthorized, Kind: pages.Fail, Title: "This link does not work", Text: "The pod can't be opened with it.", Problem: problem,
		Links: []pages.Link{{URL: sharePath, Text: "I have a password", Plain: true}},
	}
}

// pageLogout asks whether to log out, since a page of the pod may have led here.
func (x *visit) pageLogout() pages.Page {
	p := pages.Page{
		Status: http.StatusOK, Kind: pages.Ask, Title: "Log out?", Host: x.host,
		Text:  "You will have to log in again to open this pod.",
		Forms: []pages.Form{{Action: logoutPath, Button: "Log out of this pod"}},
	}
	if x.e.Gate != nil {
		p.Forms = append(p.Forms, pages.Form{Action: logoutPath + "?everywhere=1", Button: "Log out of all pods", Plain: true})
	}
	return p
}

func (x *visit) pageLoggedOut(everywhere bool) pages.Page {
	text := "You are logged out of this pod. Your login at Tapis itself may still be open."
	if everywhere {
		text = "You are logged out of all pods. Your login at Tapis itself may still be open."
	}
	return pages.Page{
		Status: http.StatusOK, Kind: pages.Done, Title: "Logged out", Text: text,
		Links: []pages.Link{{URL: "/", Text: "Open the pod again", Plain: true}},
	}
}
