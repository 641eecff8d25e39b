package api

import "strconv"

// healthcheck says that the API answers. It asks nothing else: an orchestrator
// that restarts the API because the database is away would make things worse.
func (s *server) healthcheck(*request) (answer, error) {
	return answer{message: "The request was successful", result: "I promise I'm healthy."}, nil
}

// errorHandler answers with the status of its path, for proxies that show an
// envelope instead of their own error pages.
func (s *server) errorHandler(r *request) (answer, error) {
	code, err := strconv.Atoi(r.param("status"))
	if err != nil || code < 400 || code > 599 {
		return answer{}, invalidf("path, status: value is not an HTTP status between 400 and 599")
	}
	const text = "Error processing the request."
	return answer{message: text, result: text, status: failure, code: code}, nil
}
