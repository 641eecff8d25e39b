// Package leaks gives an installation values that are found nowhere else, as passwords,
// keys, tokens, secrets and variables; has users, visitors and strangers do what they do;
// and then looks for the values wherever somebody could read them: logs, Redis, files,
// a backup, command lines, metrics, and what the API answers.
package leaks
