// Package docs keeps the documents true: links lead somewhere, every page is on the
// map, the generated pages are up to date, and commands do what they say.
//
// A block of shell commands or Python has a comment ahead of it that nobody sees:
//
//	<!-- run -->                     it is run, after those before it on the page
//	<!-- run, until: some words -->  the same, and it goes on when it printed these words
//	<!-- not run: why not -->        it can't be run here
//	<!-- given: commands -->         what the page takes for granted is made by these
//	<!-- prints -->                  the text block below is what the last block prints; … is anything
//
// The blocks of a page are run by one shell, in the checkout, beside what `make run`
// starts, with podctl logged in as testuser, and API and TOKEN set as docs/api.md does;
// the tutorial starts it itself. [place.replacements] lists what differs.
package docs
