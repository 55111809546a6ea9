// Package executor reads jobs as Jenkins Job Builder renders them. It knows what the kit uses and refuses
// all else, so that a test which looks at a job looks at the whole of it.
package executor
