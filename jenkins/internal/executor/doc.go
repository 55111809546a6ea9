// Package executor runs jobs, as Jenkins Job Builder renders them, by the rules of Jenkins: for tests of
// what becomes of the nodes when builds are aborted, agents vanish and controllers restart. It is no
// Jenkins: it knows the steps that the kit uses, refuses all others, and does with these what Jenkins' own
// source says:
//
//   - A shell step runs by its first line, or by /bin/sh -xe; its standard input is empty, its two outputs
//     are one, its folder is the workspace, and its script a file that others can read.
//   - Builders stop at the first that fails. Then what is left of their processes is told to end, wrappers
//     are torn down, and the publishers run, whatever happened, in their order and in two passes.
//   - An abort looks at all processes once and sends SIGTERM, children first, waiting for each until 5 s
//     are over for all; then to those that carry the step's cookie. It kills nobody. It may come again
//     while the publishers run.
//   - Where the agent is lost there is no workspace: a step that needs one fails, another does not.
//   - A controller that restarts has forgotten its freestyle builds: nothing of theirs runs any more.
//
// What a build had started on an agent that was lost goes on, or dies with the machine, as the test says.
package executor
