// Package docs is the pages for readers. Its tests run what tutorial.md tells
// them to type.
package docs
